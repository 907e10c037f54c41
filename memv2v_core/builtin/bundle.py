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

from ..bases.base_info import BaseInfo, adapted
from ..model.adapter import MemoryAdapter
from ..model.diffusers_view import DiffusersView
from ..weights.checkpoint import read_adapter, save_adapter, to_diffusers_names, to_native_names
from ..weights.weight_files import read_weights
from .codec import Codec
from .info import BuiltinInfo, DitConfig, builtin_base
from .text_encoder import TextConfig, TextEncoder

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

WEIGHTS = Path(__file__).parent / "weights"
STORED_DTYPE = torch.float16
VOCABULARY = "spiece_model"


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
        return self.codec.analysis.weight.device

    def base_info(self) -> BaseInfo:
        """The model as memory sees it: the same description that the nodes give it."""
        base = builtin_base(self.key, self.info, self.codec.ratios)
        return adapted(base, self.adapter.config, "trained")

    def empty_context(self, rows: int) -> torch.Tensor:
        """The empty prompt (rows, 1, text width) of a model that reads no text."""
        return torch.zeros(rows, 1, self.info.dit.text_dim)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> torch.Tensor:
        """Text tokens (B, L, text width) of a model that reads text."""
        assert self.text_encoder is not None, f"{self.info.name} reads no text"
        return self.text_encoder(prompts)


def read_info(name: str) -> BuiltinInfo:
    """The description of the built-in model `name`."""
    values = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    text = values.get("text")
    nested = {"dit": DitConfig(**values["dit"]), "text": TextConfig(**text) if text else None}
    return BuiltinInfo(**{**values, **nested})


def builtin_names(task: str | None = None) -> tuple[str, ...]:
    """Names of the built-in models that ship with the pack, all or for one task."""
    names = sorted(path.stem for path in WEIGHTS.glob("*.json"))
    return tuple(name for name in names if task is None or read_info(name).task == task)


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
    """The built-in model `name` in fp32, ready to sample."""
    info = read_info(name)
    dit = build_dit(info.dit)
    dit.load_state_dict(to_diffusers_names(_read(dit_path(name))))
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


def load_text_encoder(name: str, config: TextConfig) -> TextEncoder:
    """The text encoder of the built-in model `name` in fp32."""
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
    path = text_path(name)
    weights = read_weights(path)
    if VOCABULARY not in weights:
        raise ValueError(
            f"{path.name} in {path.parent} has no tensor {VOCABULARY!r}; install the pack again"
        )
    # The vocabulary is stored as a tensor of bytes, so that the encoder is one file.
    vocabulary = weights.pop(VOCABULARY).numpy().tobytes()
    return vocabulary, {key: value.float() for key, value in weights.items()}


def load_codec(name: str) -> Codec:
    """The VAE of the built-in model `name` in fp32.

    Raises: ValueError naming a file that is missing, broken or not a codec, and its content.
    """
    sizes = read_info(name).dit
    codec, weights = Codec(sizes.channels, sizes.num_used), _read(codec_path(name))
    require_weights(codec_path(name), weights, codec)
    codec.load_state_dict(weights)
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
                f"{path.name} in {path.parent} has {'a' if got else 'no'} tensor {name!r}{got}, "
                f"wanted one of size {tuple(tensor.shape)}; install the pack again"
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
    config = {
        "num_heads": info.dit.num_heads,
        "text_dim": info.dit.text_dim,
        "freq_dim": info.dit.freq_dim,
    }
    if info.text is not None:
        # Only estimates of cost read this.
        config["text_len"] = info.text.num_tokens
    # ComfyUI reads from the metadata what it cannot read from a Wan's shapes.
    metadata = {"config": json.dumps({"transformer": config})}
    save_file(_stored(to_native_names(dit.state_dict())), str(dit_path(key)), metadata=metadata)
    save_file(_stored(codec.state_dict()), str(codec_path(key)))
    save_adapter(adapter, adapter_path(key), STORED_DTYPE)
    text = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
    (WEIGHTS / f"{key}.json").write_text(text, encoding="utf-8")


def _stored(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().to("cpu", STORED_DTYPE).contiguous() for name, tensor in state.items()
    }


def _read(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in read_weights(path).items()}
