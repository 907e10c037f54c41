"""Networks whose cost is measured: a built-in model, or a published base with random weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...bases.base_info import BaseInfo, adapted
from ...builtin.bundle import load_bundle
from ...model.adapter import AdapterConfig, MemoryAdapter
from ...model.diffusers_view import DiffusersView
from ...shapes import VaeRatios
from ...tokens.cost import DitShape
from ..suites.probe_suite import CostConfig

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel

# Wan2.1 1.3B, the base of the paper's novel views.
_WAN_1_3B = DitShape(dim=1536, ffn_dim=8960, num_blocks=30)
_WAN_RATIOS = VaeRatios(4, 8, 16)
TEXT_DIM = 4096
FLOP_UNITS = {"GFLOP": 1e9, "TFLOP": 1e12}


@dataclass(frozen=True, eq=False)
class MeasuredNetwork:
    """A network and what its forward needs.

    latent: (T, H, W) of a video. context: (1, L, D) text tokens. flop_unit: in which its FLOPs make
    readable numbers.
    """

    name: str
    backbone: DiffusersView
    adapter: MemoryAdapter
    base: BaseInfo
    shape: DitShape
    latent: tuple[int, int, int]
    context: torch.Tensor
    dtype: torch.dtype
    flop_unit: str = "GFLOP"


def measured_network(config: CostConfig, device: torch.device) -> MeasuredNetwork:
    """The network of a suite.

    Raises: ValueError for a built-in model that is not there or takes no cameras.
    """
    if config.network is not None:
        return _published(config, device)
    bundle = load_bundle(config.builtin, device)
    info, dit = bundle.info, bundle.info.dit
    if info.task != "novel_view":
        raise ValueError(
            f"builtin got {config.builtin!r}, which edits by text; wanted a model that takes "
            "cameras, such as novel_view"
        )
    side = info.size // bundle.codec.ratios.spatial
    base = bundle.base_info()
    shape = DitShape(
        dit.dim,
        dit.ffn_dim,
        dit.num_layers,
        num_text_tokens=1,
        head_dim=dit.dim // dit.num_heads,
        attention=base.attention,
        clean_reads_text=base.clean_reads_text,
    )
    return MeasuredNetwork(
        config.builtin,
        bundle.backbone,
        bundle.adapter,
        base,
        shape,
        (info.num_frames, side, side),
        bundle.empty_context(1).to(device),
        torch.float32,
    )


def _published(config: CostConfig, device: torch.device) -> MeasuredNetwork:
    shape, dtype = _WAN_1_3B, dtype_on(device)
    dit = empty_wan(shape)
    settings = AdapterConfig(shape.dim, shape.num_blocks, _WAN_RATIOS.channels)
    with torch.device("meta"):
        adapter = MemoryAdapter(settings)
    # Counting needs sizes and no weights.
    if config.is_timed:
        fill_randomly(dit, device)
        fill_randomly(adapter, device)
    bare = BaseInfo("Wan", "training-free", _WAN_RATIOS, None, "target", has_cameras=False)
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(1, shape.num_text_tokens, TEXT_DIM, generator=generator)
    return MeasuredNetwork(
        f"{config.network}, random weights",
        DiffusersView(dit),
        adapter,
        adapted(bare, settings, "trained"),
        shape,
        config.latent,
        context.to(device, dtype),
        dtype,
        "TFLOP",
    )


def dtype_on(device: torch.device) -> torch.dtype:
    """bf16 on a GPU. The CPU, which tries things, cannot pool in bf16."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def empty_wan(shape: DitShape) -> "WanTransformer3DModel":
    """Diffusers' Wan of these sizes, with no memory taken for its weights."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        return WanTransformer3DModel(
            num_attention_heads=shape.dim // shape.head_dim,
            attention_head_dim=shape.head_dim,
            text_dim=TEXT_DIM,
            ffn_dim=shape.ffn_dim,
            num_layers=shape.num_blocks,
        )


@torch.no_grad()
def fill_randomly(module: nn.Module, device: torch.device) -> None:
    """Random weights on the device, of a size that keeps values sane."""
    module.to_empty(device=device).to(dtype_on(device)).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, values in module.named_parameters():
        values.normal_(generator=generator)
        if values.ndim > 1:
            values.div_(values[0].numel() ** 0.5)
        else:
            values.mul_(0.1).add_(1.0 if name.endswith("weight") and "norm" in name else 0.0)
    for child in module.modules():
        # Its tables are buffers, which `to_empty` left without values.
        if type(child).__name__ == "WanRotaryPosEmbed":
            again = type(child)(child.attention_head_dim, child.patch_size, child.max_seq_len)
            for name, table in again.named_buffers():
                setattr(child, name, table.to(device))
