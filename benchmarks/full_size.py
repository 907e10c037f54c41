"""One real forward of a full-size base with a source and three memories, random bf16 weights, on
the CPU.

    MALLOC_MMAP_THRESHOLD_=65536 PYTHON benchmarks/full_size.py recammaster
    MALLOC_MMAP_THRESHOLD_=65536 PYTHON benchmarks/full_size.py lucyedit --latent-frames 1

The networks are ComfyUI's own (30 blocks; 1.3B with a memory adapter, 5B without), at a reduced
size. Weights stay bf16 and each layer computes in fp32, as ComfyUI does where bf16 has no units.
Linux and macOS; the variable makes glibc return freed memory at once, so that the peak is what
lives and not what is scattered.
"""

import argparse
import os
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from devtools.environment import find_environment
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.model.wan_view import WanView
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices

NUM_MEMORIES, TEXT_DIM = 3, 4096


@dataclass(frozen=True)
class Base:
    """height and width: of the latents that run here."""

    shape: DitShape
    in_channels: int
    out_channels: int
    height: int
    width: int


BASES = {
    "recammaster": Base(DitShape(dim=1536, ffn_dim=8960, num_blocks=30), 16, 16, 30, 52),
    "lucyedit": Base(
        DitShape(3072, 14336, 30, has_adapter=False, has_mergers=False), 96, 48, 30, 52
    ),
}


def materialise(module: nn.Module, generator: torch.Generator) -> None:
    """Random weights in place of a module's meta tensors, each made in its own precision: no other
    copy ever exists.
    """
    module.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.fill_(1)
            else:
                bound = (3 / max(parameter[0].numel(), 1)) ** 0.5 if parameter.ndim > 1 else 0.1
                parameter.uniform_(-bound, bound, generator=generator)
    module.eval().requires_grad_(False)


def build(base: Base, generator: torch.Generator) -> tuple[nn.Module, MemoryAdapter | None]:
    """ComfyUI's WanModel of these sizes in bf16, and the adapter where the base has one."""
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    shape = base.shape
    dit = WanModel(
        in_dim=base.in_channels,
        out_dim=base.out_channels,
        dim=shape.dim,
        ffn_dim=shape.ffn_dim,
        num_heads=shape.dim // shape.head_dim,
        num_layers=shape.num_blocks,
        text_dim=TEXT_DIM,
        device="meta",
        dtype=torch.bfloat16,
        operations=comfy.ops.manual_cast,
    )
    materialise(dit, generator)
    if not shape.has_adapter:
        return dit, None
    with torch.device("meta"):
        adapter = MemoryAdapter(
            AdapterConfig(shape.dim, shape.num_blocks, base.in_channels), comfy.ops.manual_cast
        )
    adapter.bfloat16()
    materialise(adapter, generator)
    return dit, adapter


def build_inputs(base: Base, num_frames: int, generator: torch.Generator) -> MemoryInputs:
    """A source, where the base takes it as tokens, and three memories; half of the frames are
    merged.
    """
    cameras = None
    if base.shape.has_adapter:
        cameras = FrameCameras(
            torch.eye(4).repeat(1, num_frames, 1, 1), torch.eye(3).repeat(1, num_frames, 1, 1)
        )

    def stream(role: str, kernel: int) -> ConditioningStream:
        latent = torch.randn(
            1, base.in_channels, num_frames, base.height, base.width, generator=generator
        )
        return ConditioningStream(
            role, kernel, latent, temporal_indices(role, num_frames, num_frames), cameras
        )

    source = (stream("source", 2),) if has_source(base) else ()
    memories = tuple(
        stream("memory", kernel) for kernel in kernels_by_rank(NUM_MEMORIES, BudgetConfig())
    )
    return MemoryInputs((*source, *memories), cameras, merging=MergeConfig())


def has_source(base: Base) -> bool:
    """Whether the source video is tokens of the sequence; else it is half of the input's
    channels."""
    return base.in_channels == base.out_channels


def attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_args: object, **_kwargs: object
) -> int:
    """Of the CPU's fused attention, which torch does not count by itself."""
    return sdpa_flop_count(query, key, value)


def peak_gib() -> float:
    """The most memory that this process ever held."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 2**30
    )


def run(base: Base, num_frames: int) -> None:
    import comfy.ldm.flux.math
    import comfy.model_management
    from comfy.ldm.modules.attention import optimized_attention

    generator = torch.Generator().manual_seed(0)
    began = time.perf_counter()
    dit, adapter = build(base, generator)
    weights = sum(
        parameter.numel()
        for module in (dit, adapter)
        if module
        for parameter in module.parameters()
    )
    inputs = build_inputs(base, num_frames, generator)
    latent = torch.randn(
        1, base.in_channels, num_frames, base.height, base.width, generator=generator
    )
    context, timestep = torch.randn(1, 512, TEXT_DIM, generator=generator), torch.tensor([500.0])
    view = WanView(
        dit,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        optimized_attention,
        {},
        latent,
    )
    built, before = time.perf_counter(), peak_gib()
    fused = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=fused) as counter:
        clean = tokenize_clean(view, adapter, inputs, latent.shape)
        output = memory_forward(view, adapter, latent, timestep, context, inputs, clean)
    seconds = time.perf_counter() - built
    assert output.shape == (1, base.out_channels, *latent.shape[2:])
    assert output.isfinite().all()
    kernels = kernels_by_rank(NUM_MEMORIES, BudgetConfig())
    layout = plan_layout(*latent.shape[2:], has_source(base), (num_frames,) * NUM_MEMORIES, kernels)
    cost = forward_cost(layout, base.shape, inputs.merging, bytes_per_value=4)
    print(
        f"{weights / 1e9:.2f}e9 weights built in {built - began:.0f} s; latent "
        f"{tuple(latent.shape)}"
    )
    print(f"tokens: {cost.tokens_in} enter, {cost.tokens_out} leave the last block")
    counted = counter.get_total_flops() / 1e12
    print(f"TFLOP: {counted:.3f} counted, {cost.flops / 1e12:.3f} estimated for the blocks alone")
    print(f"forward: {seconds:.0f} s, output spreads by {output.std():.3f}")
    print(
        f"peak memory: {peak_gib():.2f} GiB, {peak_gib() - before:.2f} more than with weights "
        f"alone; activations estimated in fp32: {cost.activation_bytes / 2**30:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", choices=BASES)
    parser.add_argument("--latent-frames", type=int, default=2)
    arguments = parser.parse_args()
    environment = find_environment()
    if environment is None:
        parser.error(
            "no ComfyUI was found: run python3 dev.py setup, or set COMFYUI_PATH to its folder"
        )
    sys.path.insert(0, str(environment.comfyui))
    sys.argv = [
        "main.py",
        "--cpu",
        "--use-pytorch-cross-attention",
    ]  # ComfyUI's options: its attention on NVIDIA
    import comfy.options

    comfy.options.enable_args_parsing()
    print(
        f"{arguments.base}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads"
    )
    run(BASES[arguments.base], arguments.latent_frames)


if __name__ == "__main__":
    main()
