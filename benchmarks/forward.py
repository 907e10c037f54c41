"""One denoising forward of the built-in model: memory against none, merging against not, time and
counted FLOPs.
"""

import platform
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.builtin.bundle import Bundle, load_bundle
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices

NUM_REPEATS = 5


def build_inputs(
    num_frames: int, side: int, kernels: tuple[int, ...], merging: MergeConfig | None
) -> MemoryInputs:
    generator = torch.Generator().manual_seed(0)
    cameras = FrameCameras(
        torch.eye(4).repeat(1, num_frames, 1, 1), torch.eye(3).repeat(1, num_frames, 1, 1)
    )

    def stream(role: str, kernel: int) -> ConditioningStream:
        latent = torch.randn(1, 16, num_frames, side, side, generator=generator)
        indices = temporal_indices(role, num_frames, num_frames)
        return ConditioningStream(role, kernel, latent, indices, cameras)

    streams = (stream("source", 2), *(stream("memory", kernel) for kernel in kernels))
    return MemoryInputs(streams, cameras, merging=merging, clean_timestep="zero")


def median_seconds(bundle: Bundle, inputs: MemoryInputs, side: int) -> float:
    """Median time of one forward with these inputs, tokens of clean videos made beforehand as in
    sampling.
    """
    noisy = torch.randn(1, 16, bundle.info.num_frames, side, side)
    timestep, context = torch.tensor([500.0]), bundle.empty_context(1)
    times = []
    with torch.no_grad():
        clean = tokenize_clean(bundle.backbone, bundle.adapter, inputs, noisy.shape)
        for _ in range(NUM_REPEATS):
            began = time.perf_counter()
            memory_forward(bundle.backbone, bundle.adapter, noisy, timestep, context, inputs, clean)
            times.append(time.perf_counter() - began)
    return sorted(times)[NUM_REPEATS // 2]


def main() -> None:
    bundle = load_bundle("novel_view")
    info, dit = bundle.info, bundle.info.dit
    side = info.size // 8
    shape = DitShape(dit.dim, dit.ffn_dim, dit.num_layers, num_text_tokens=1)
    print(f"{info.name}: {info.num_frames} x {side} x {side} latents, {platform.machine()}")
    print("memories  kernels    merging  seconds, source alone = 1  FLOPs, source alone = 1")
    base = None
    for count in (0, 1, 3, 6, 10):
        ranked = kernels_by_rank(count, BudgetConfig())
        uniform = (("all 1x2x2", (2,) * count, None),) if count else ()
        for name, kernels, merging in (
            *uniform,
            ("dynamic", ranked, None),
            ("dynamic", ranked, MergeConfig()),
        ):
            seconds = median_seconds(
                bundle, build_inputs(info.num_frames, side, kernels, merging), side
            )
            layout = plan_layout(
                info.num_frames, side, side, True, (info.num_frames,) * count, kernels
            )
            flops = forward_cost(layout, shape, merging).flops
            base = base or (seconds, flops)
            merged = "yes" if merging else "no"
            print(
                f"{count:8d}  {name:9s}  {merged:>7s}  {seconds / base[0]:25.2f}  "
                f"{flops / base[1]:23.2f}"
            )


if __name__ == "__main__":
    main()
