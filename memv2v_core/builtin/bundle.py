"""The small models that ship with the pack: their files, what they are, and loading them outside ComfyUI."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from ..model.adapter import MemoryAdapter
from ..model.checkpoint import read_adapter, save_adapter, to_diffusers_names, to_native_names
from ..model.diffusers_view import DiffusersView
from .codec import RATIOS, Codec

WEIGHTS = Path(__file__).parent / "weights"
STORED_DTYPE = torch.float16


@dataclass(frozen=True)
class BuiltinInfo:
    """What a built-in model was trained for; stored beside its weights as JSON.

    name: as shown to users. size: pixels a side. num_frames: frames of a clip. fov_deg: its lens, across. shift and
    num_steps: of its sampler. The rest are sizes of the DiT.
    """

    name: str
    size: int
    num_frames: int
    fov_deg: float
    shift: float
    num_steps: int
    dim: int
    num_heads: int
    num_layers: int
    ffn_dim: int
    text_dim: int
    freq_dim: int


@dataclass(frozen=True, eq=False)
class Bundle:
    """A built-in model outside ComfyUI."""

    info: BuiltinInfo
    backbone: DiffusersView
    adapter: MemoryAdapter
    codec: Codec

    def empty_context(self, rows: int) -> torch.Tensor:
        """The empty prompt (rows, 1, text width): this model reads no text."""
        return torch.zeros(rows, 1, self.info.text_dim)


def read_info(name: str) -> BuiltinInfo:
    """What is known of the built-in model `name`."""
    return BuiltinInfo(**json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")))


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


def build_dit(info: BuiltinInfo) -> WanTransformer3DModel:
    """A DiT of the sizes in `info`, with fresh weights."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=info.num_heads,
        attention_head_dim=info.dim // info.num_heads,
        in_channels=RATIOS.channels,
        out_channels=RATIOS.channels,
        text_dim=info.text_dim,
        freq_dim=info.freq_dim,
        ffn_dim=info.ffn_dim,
        num_layers=info.num_layers,
        cross_attn_norm=True,
        rope_max_seq_len=128,
    )


def load_bundle(name: str, device: torch.device | None = None) -> Bundle:
    """The built-in model `name` in fp32, ready to sample."""
    info = read_info(name)
    dit = build_dit(info)
    dit.load_state_dict(to_diffusers_names(_read(dit_path(name))))
    config, state = read_adapter(adapter_path(name))
    adapter = MemoryAdapter(config)
    adapter.load_state_dict({key: value.float() for key, value in state.items()})
    codec = load_codec(name)
    for module in (dit, adapter, codec):
        module.eval().requires_grad_(False).to(device)
    return Bundle(info, DiffusersView(dit), adapter, codec)


def load_codec(name: str) -> Codec:
    """The VAE of the built-in model `name` in fp32."""
    codec = Codec()
    codec.load_state_dict(_read(codec_path(name)))
    return codec.eval().requires_grad_(False)


def save_bundle(info: BuiltinInfo, key: str, dit: WanTransformer3DModel, adapter: MemoryAdapter, codec: Codec) -> None:
    """Write a built-in model under the name `key`; weights are stored in fp16."""
    WEIGHTS.mkdir(exist_ok=True)
    config = {"num_heads": info.num_heads, "text_dim": info.text_dim, "freq_dim": info.freq_dim}
    metadata = {"config": json.dumps({"transformer": config})}
    save_file(_stored(to_native_names(dit.state_dict())), str(dit_path(key)), metadata=metadata)
    save_file(_stored(codec.state_dict()), str(codec_path(key)))
    save_adapter(adapter, adapter_path(key), STORED_DTYPE)
    text = json.dumps(dataclasses.asdict(info), indent=1) + "\n"
    (WEIGHTS / f"{key}.json").write_text(text, encoding="utf-8")


def _stored(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", STORED_DTYPE).contiguous() for name, tensor in state.items()}


def _read(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(str(path)).items()}
