"""The small models that ship with the pack: their files, their descriptions, and loading.

Loading here is for use outside ComfyUI.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

from ..bases.base_info import BaseInfo
from ..bases.published import Shapes
from ..model.adapter import MemoryAdapter
from ..model.diffusers_view import DiffusersView
from ..weights.checkpoint import read_adapter, save_adapter, to_diffusers_names, to_native_names
from ..weights.detection import detect
from ..weights.reading.boundary import Fault, place, reading
from ..weights.reading.finite import require_finite, require_floats
from ..weights.reading.json_text import read_object
from ..weights.reading.limits import MAX_VOCABULARY_BYTES
from ..weights.reading.settings import read_settings
from ..weights.reading.tensor_sizes import require_exact
from ..weights.wan_shapes import WanSizes, wan_shapes
from ..weights.weight_files import read_header, read_weights
from .codec import Codec
from .info import BuiltinInfo, DitConfig, builtin_base, with_own_adapter, wrong_sizes
from .text_encoder import TextConfig, TextEncoder, text_shapes, vocabulary_size

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

WEIGHTS = Path(__file__).parent / "weights"
STORED_DTYPE = torch.float16
VOCABULARY = "spiece_model"
REMEDY = "install the pack again"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A built-in model outside ComfyUI.

    key: the name of its files.
    """

    info: BuiltinInfo
    backbone: DiffusersView
    adapter: MemoryAdapter
    codec: Codec
    text_encoder: TextEncoder | None = None
    key: str = ""

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.codec.device

    def base_info(self) -> BaseInfo:
        """The model as memory sees it: the same description that the nodes give it."""
        base = builtin_base(self.key, self.info, self.codec.ratios)
        return with_own_adapter(base, self.adapter.config, self.info)

    def empty_context(self, rows: int) -> torch.Tensor:
        """The empty prompt (rows, 1, text width) of a model that reads no text."""
        return torch.zeros(rows, 1, self.info.dit.text_dim)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Text tokens (B, L, text width) of a model that reads text."""
        assert self.text_encoder is not None, f"{self.info.name} reads no text"
        return self.text_encoder(prompts)


def read_info(name: str) -> BuiltinInfo:
    """The description of the built-in model `name`.

    Raises: ValueError naming a file that is missing or broken, or a setting that fits no model.
    """
    path = info_path(name)
    with reading(path, "the description of a built-in model", REMEDY):
        info = read_settings(BuiltinInfo, read_object(path, "a description"))
        if wrong := wrong_sizes(info):
            raise Fault(f"has {wrong}")
    return info


def builtin_names(task: str | None = None) -> tuple[str, ...]:
    """Names of the built-in models that ship with the pack, all or for one task."""
    names = sorted(path.stem for path in WEIGHTS.glob("*.json"))
    return tuple(name for name in names if task is None or read_info(name).task == task)


def info_path(name: str) -> Path:
    return WEIGHTS / f"{name}.json"


def dit_path(name: str) -> Path:
    """The DiT in native Wan names, as ComfyUI's UNETLoader takes it."""
    return WEIGHTS / f"{name}_dit.safetensors"


def adapter_path(name: str) -> Path:
    return WEIGHTS / f"{name}_adapter.safetensors"


def codec_path(name: str) -> Path:
    return WEIGHTS / f"{name}_vae.safetensors"


def text_path(name: str) -> Path:
    """The text encoder, with its vocabulary inside."""
    return WEIGHTS / f"{name}_text.safetensors"


def build_dit(config: DitConfig) -> "WanTransformer3DModel":
    """A DiT of these sizes with fresh weights."""
    # diffusers is slow to import, and ComfyUI needs none of it.
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=config.num_heads,
        attention_head_dim=config.dim // config.num_heads,
        in_channels=config.in_channels,
        out_channels=config.channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        cross_attn_norm=True,
        rope_max_seq_len=128,
    )


def load_bundle(name: str, device: torch.device | None = None) -> Bundle:
    """The built-in model `name` in fp32, ready to sample.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    info = read_info(name)
    weights = {key: value.float() for key, value in read_dit(name, info).items()}
    dit = build_dit(info.dit)
    dit.load_state_dict(to_diffusers_names(weights))
    config, state = read_adapter(adapter_path(name))
    # Files are fp16, but a CPU computes in fp32.
    adapter = MemoryAdapter(config)
    adapter.load_state_dict({key: value.float() for key, value in state.items()})
    codec = load_codec(name)
    text_encoder = None if info.text is None else load_text_encoder(name, info.text)
    for module in (dit, adapter, codec, text_encoder):
        if module is not None:
            module.eval().requires_grad_(False).to(device)
    return Bundle(info, DiffusersView(dit), adapter, codec, text_encoder, name)


def read_dit(name: str, info: BuiltinInfo) -> dict[str, torch.Tensor]:
    """The weights of a built-in model's DiT, under native names.

    Raises: ValueError naming a file that is missing, broken, or not the DiT that `info` describes.
    """
    path, wanted = dit_path(name), wan_shapes(_dit_sizes(info.dit))
    header = read_header(path)
    # Another model is named as what it is; a wrong tensor of the right model by its own name.
    file = detect(header.shapes, header.metadata)
    has_source = info.dit.has_source_channels
    if header.shapes != wanted and file.kind != ("lucyedit" if has_source else "wan2.1"):
        form = "a Wan DiT of LucyEdit's form" if has_source else "a Wan DiT"
        raise ValueError(f"{place(path)} is {file.what}, wanted {form}; {REMEDY}")
    return _checked(name, path, read_weights(path), wanted)


def comfy_metadata(info: BuiltinInfo) -> dict[str, str]:
    """What ComfyUI cannot read from the shapes of a built-in DiT, as it reads it from a file."""
    config = {
        "num_heads": info.dit.num_heads,
        "text_dim": info.dit.text_dim,
        "freq_dim": info.dit.freq_dim,
    }
    if info.text is not None:
        # Only estimates of cost read this.
        config["text_len"] = info.text.num_tokens
    return {"config": json.dumps({"transformer": config})}


def load_text_encoder(name: str, config: TextConfig) -> TextEncoder:
    """The text encoder of the built-in model `name` in fp32.

    Raises: ValueError naming a file that is missing, broken or of another kind.
    """
    vocabulary, weights = read_text_weights(name)
    encoder = TextEncoder(config, vocabulary)
    # Not strict: the token embedding has two names and is stored once.
    encoder.model.load_state_dict(weights, strict=False)
    return encoder


def read_text_weights(name: str) -> tuple[bytes, dict[str, torch.Tensor]]:
    """The vocabulary and the weights of a built-in model's text encoder.

    The weights have UMT5's own names.

    Raises: ValueError naming a file that is missing, broken or has no vocabulary.
    """
    path, config = text_path(name), read_info(name).text
    assert config is not None, "only a model that reads prompts has a text encoder"
    weights = read_weights(path)
    with reading(path, "a text encoder with its vocabulary", REMEDY):
        pieces = weights.pop(VOCABULARY, None)
        if pieces is None:
            raise Fault(f"has no tensor {VOCABULARY!r}")
        is_text = pieces.dtype is torch.uint8 and pieces.ndim == 1
        if not is_text or pieces.numel() > MAX_VOCABULARY_BYTES:
            raise Fault(f"has a tensor {VOCABULARY!r} that is no text of bytes")
        # The vocabulary is stored as a tensor of bytes, so that the encoder is one file.
        vocabulary = pieces.numpy().tobytes()
        num_pieces = vocabulary_size(vocabulary)
    weights = _checked(name, path, weights, text_shapes(config, num_pieces))
    return vocabulary, {key: value.float() for key, value in weights.items()}


def load_codec(name: str) -> Codec:
    """The VAE of the built-in model `name` in fp32.

    Raises: ValueError naming a file that is missing, broken or not a codec, and its content.
    """
    path, sizes = codec_path(name), read_info(name).dit
    codec = Codec(sizes.channels, sizes.num_used)
    shapes = {key: tuple(value.shape) for key, value in codec.state_dict().items()}
    weights = _checked(name, path, read_weights(path), shapes)
    codec.load_state_dict({key: value.float() for key, value in weights.items()})
    return codec.eval().requires_grad_(False)


def require_weights(path: Path, found: dict[str, torch.Tensor], module: nn.Module) -> None:
    """Raise ValueError unless the file holds every weight of `module` at its size.

    found: the tensors of the file.
    """
    # ComfyUI loads a DiT with missing weights without an error.
    for name, tensor in module.state_dict().items():
        if name not in found or found[name].shape != tensor.shape:
            got = f" of size {tuple(found[name].shape)}" if name in found else ""
            raise ValueError(
                f"{place(path)} has {'a' if got else 'no'} tensor {name!r}{got}, wanted one of "
                f"size {tuple(tensor.shape)}; {REMEDY}"
            )


def save_bundle(
    info: BuiltinInfo,
    key: str,
    dit: "WanTransformer3DModel",
    adapter: MemoryAdapter,
    codec: Codec,
    text_encoder: TextEncoder | None = None,
) -> None:
    """Write a built-in model under the name `key`; weights are stored in fp16."""
    WEIGHTS.mkdir(exist_ok=True)
    if text_encoder is not None:
        state = _stored(text_encoder.model.state_dict())
        # The token embedding under its other name; shared.weight stays.
        state.pop("encoder.embed_tokens.weight", None)
        save_file(
            {
                **state,
                VOCABULARY: torch.frombuffer(bytearray(text_encoder.vocabulary), dtype=torch.uint8),
            },
            str(text_path(key)),
        )
    # ComfyUI reads from the metadata what it cannot read from a Wan's shapes.
    metadata = comfy_metadata(info)
    save_file(_stored(to_native_names(dit.state_dict())), str(dit_path(key)), metadata=metadata)
    save_file(_stored(codec.state_dict()), str(codec_path(key)))
    save_adapter(adapter, adapter_path(key), STORED_DTYPE)
    text = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
    info_path(key).write_text(text, encoding="utf-8")


def _stored(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().to("cpu", STORED_DTYPE).contiguous() for name, tensor in state.items()
    }


def _dit_sizes(config: DitConfig) -> WanSizes:
    return WanSizes(
        dim=config.dim,
        num_blocks=config.num_layers,
        in_channels=config.in_channels,
        # A token is a patch of 2 x 2 latent pixels.
        out_values=4 * config.channels,
        ffn_dim=config.ffn_dim,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
    )


def _checked(
    name: str, path: Path, weights: dict[str, torch.Tensor], wanted: Shapes
) -> dict[str, torch.Tensor]:
    """`weights` if they are exactly the `wanted` ones and finite floats."""
    # The description may be the broken one of the two.
    with reading(path, f"the weights that {name}.json describes", REMEDY):
        require_exact({key: tuple(value.shape) for key, value in weights.items()}, wanted)
        require_floats(weights)
        require_finite(weights)
    return weights
