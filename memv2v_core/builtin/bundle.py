"""The small models that ship with the pack: their files, what they are, and loading them outside ComfyUI."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

from ..model.adapter import MemoryAdapter
from ..model.checkpoint import read_adapter, save_adapter, to_diffusers_names, to_native_names
from ..model.diffusers_view import DiffusersView
from ..model.weight_files import read_weights
from .codec import RATIOS, Codec

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

WEIGHTS = Path(__file__).parent / "weights"
STORED_DTYPE = torch.float16


@dataclass(frozen=True)
class DitConfig:
    """Sizes of a small Wan-style DiT."""

    dim: int = 256
    num_heads: int = 4
    num_layers: int = 6
    ffn_dim: int = 768
    text_dim: int = 64
    freq_dim: int = 64


@dataclass(frozen=True)
class BuiltinInfo:
    """What a built-in model was trained for; stored beside its weights as JSON.

    name: as shown to users. size: pixels a side. num_frames: frames of a clip. fov_deg: its lens, across. shift and
    num_steps: of its sampler.
    """

    name: str
    size: int
    num_frames: int
    fov_deg: float
    shift: float
    num_steps: int
    dit: DitConfig


@dataclass(frozen=True, eq=False)
class Bundle:
    """A built-in model outside ComfyUI."""

    info: BuiltinInfo
    backbone: DiffusersView
    adapter: MemoryAdapter
    codec: Codec

    def empty_context(self, rows: int) -> torch.Tensor:
        """The empty prompt (rows, 1, text width): this model reads no text."""
        return torch.zeros(rows, 1, self.info.dit.text_dim)


def read_info(name: str) -> BuiltinInfo:
    """What is known of the built-in model `name`."""
    values = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return BuiltinInfo(**{**values, "dit": DitConfig(**values["dit"])})


def builtin_names() -> tuple[str, ...]:
    """Names of the built-in models that ship with the pack."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.json")))


def dit_path(name: str) -> Path:
    """The DiT in native Wan names, as ComfyUI's UNETLoader takes it."""
    return WEIGHTS / f"{name}_dit.safetensors"


def adapter_path(name: str) -> Path:
    return WEIGHTS / f"{name}_adapter.safetensors"


def codec_path(name: str) -> Path:
    return WEIGHTS / f"{name}_vae.safetensors"


def build_dit(config: DitConfig) -> "WanTransformer3DModel":
    """A DiT of these sizes with fresh weights."""
    from diffusers import WanTransformer3DModel  # slow to import, and ComfyUI needs none of it

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=config.num_heads,
        attention_head_dim=config.dim // config.num_heads,
        in_channels=RATIOS.channels,
        out_channels=RATIOS.channels,
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
    adapter = MemoryAdapter(config)
    adapter.load_state_dict({key: value.float() for key, value in state.items()})
    codec = load_codec(name)
    for module in (dit, adapter, codec):
        module.eval().requires_grad_(False).to(device)
    return Bundle(info, DiffusersView(dit), adapter, codec)


def load_codec(name: str) -> Codec:
    """The VAE of the built-in model `name` in fp32.

    Raises: ValueError naming a file that is missing, broken or not a codec, and what was found in it.
    """
    codec, weights = Codec(), _read(codec_path(name))
    require_weights(codec_path(name), weights, codec)
    codec.load_state_dict(weights)
    return codec.eval().requires_grad_(False)


def require_weights(path: Path, found: dict[str, torch.Tensor], module: nn.Module) -> None:
    """Raise ValueError unless the file's tensors, `found`, hold every weight of `module` at its size."""
    for name, tensor in module.state_dict().items():
        if name not in found or found[name].shape != tensor.shape:
            got = f"size {tuple(found[name].shape)}" if name in found else "nothing"
            raise ValueError(
                f"{path.name} in {path.parent} got {got} for {name!r}, wanted size {tuple(tensor.shape)}; "
                "install the pack again"
            )


def save_bundle(
    info: BuiltinInfo, key: str, dit: "WanTransformer3DModel", adapter: MemoryAdapter, codec: Codec
) -> None:
    """Write a built-in model under the name `key`; weights are stored in fp16."""
    WEIGHTS.mkdir(exist_ok=True)
    config = {"num_heads": info.dit.num_heads, "text_dim": info.dit.text_dim, "freq_dim": info.dit.freq_dim}
    metadata = {"config": json.dumps({"transformer": config})}
    save_file(_stored(to_native_names(dit.state_dict())), str(dit_path(key)), metadata=metadata)
    save_file(_stored(codec.state_dict()), str(codec_path(key)))
    save_adapter(adapter, adapter_path(key), STORED_DTYPE)
    text = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
    (WEIGHTS / f"{key}.json").write_text(text, encoding="utf-8")


def _stored(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", STORED_DTYPE).contiguous() for name, tensor in state.items()}


def _read(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in read_weights(path).items()}
