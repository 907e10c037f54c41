"""One step of a full-size base on a GPU: time and memory with memories, against the cost model.

    PYTHON benchmarks/gpu_step.py             # Wan2.1 1.3B, 81 frames, 832x480, bf16
    PYTHON benchmarks/gpu_step.py --small     # a few thousand weights, to try the script

The network is diffusers' Wan with random weights, in training-free mode and with an adapter with
merging. The last line compares a turn without memories with diffusers' own forward that sees the
source behind the target. No ComfyUI runs here: its offloading and its attention are not measured.
"""

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.card.timing import measure
from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.evaluation.probes.networks import TEXT_DIM, dtype_on, empty_wan, fill_randomly
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward, tokenize_clean
from memv2v_core.retrieval.selection import RankedEntry, Retrieval
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios, num_latent_frames
from memv2v_core.tokens.budget import plan_tokens
from memv2v_core.tokens.cost import DitShape, plan_costs

NUM_REPEATS = 3
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """Of the DiT, and of the latents that run here."""

    shape: DitShape
    num_frames: int
    height: int
    width: int

    @property
    def latent(self) -> tuple[int, int, int]:
        """(T, h, w)."""
        return num_latent_frames(self.num_frames, 4), self.height, self.width


FULL = Size(DitShape(dim=1536, ffn_dim=8960, num_blocks=30), 81, 60, 104)
SMALL = Size(DitShape(dim=256, ffn_dim=512, num_blocks=3), 9, 8, 12)


def turn_of(size: Size, base: BaseInfo, count: int, device: torch.device) -> Turn:
    """A turn with a source and `count` memories, planned as Dynamic Tokenize does."""
    generator = torch.Generator().manual_seed(1)

    def video() -> torch.Tensor:
        return torch.randn(16, *size.latent, generator=generator).to(device, dtype_on(device))

    path = static_trajectory(size.num_frames)
    entries = [
        MemoryEntry.of(video().cpu(), path, base.model_name, size.num_frames, i + 1, float(i))
        for i in range(count)
    ]
    ranked = tuple(RankedEntry(entry, 1.0 - i / 100) for i, entry in enumerate(entries))
    paths = (path, path) if base.has_cameras else (None, None)
    return Turn(base, video(), *paths, plan_tokens(Retrieval(None, ranked)))


class Step:
    """One forward of a turn, its clean tokens made beforehand as in sampling."""

    def __init__(self, dit: WanTransformer3DModel, adapter: MemoryAdapter | None, turn: Turn):
        device = next(dit.parameters()).device
        self.view, self.adapter, self.turn = DiffusersView(dit), adapter, turn
        self.inputs = turn.inputs(lambda latent: latent.to(device, dtype_on(device)))
        self.noisy = torch.randn(
            1, *turn.latent_shape, generator=torch.Generator().manual_seed(2)
        ).to(device, dtype_on(device))
        self.timestep = torch.tensor([500.0], device=device)
        self.context = torch.randn(1, 512, TEXT_DIM, generator=torch.Generator().manual_seed(3))
        self.context = self.context.to(device, dtype_on(device))

    @torch.no_grad()
    def run(self) -> torch.Tensor:
        """The prediction."""
        return memory_forward(
            self.view,
            self.adapter,
            self.noisy,
            self.timestep,
            self.context,
            self.inputs,
            tokenize_clean(self.view, self.adapter, self.inputs, self.noisy.shape),
        )

    def measure(self) -> tuple[float, float]:
        """Median seconds, and GiB at the peak beside the weights."""
        timing = measure(self.run, self.noisy.device, budget_s=math.inf, most=NUM_REPEATS)
        return timing.seconds, (timing.peak_bytes or 0) / GIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny network, to try the script")
    parser.add_argument("--memories", type=int, nargs="+", default=[0, 1, 3, 10])
    options = parser.parse_args()
    size = SMALL if options.small else FULL
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"torch {torch.__version__}, {name}")
    dit = empty_wan(size.shape)
    fill_randomly(dit, device)
    bare = BaseInfo("Wan", "training-free", VaeRatios(4, 8, 16), None, "target", has_cameras=False)
    config = AdapterConfig(size.shape.dim, size.shape.num_blocks, 16)
    with torch.device("meta"):
        adapter = MemoryAdapter(config)
    fill_randomly(adapter, device)
    trained = adapted(bare, config, "trained")
    print("mode           memories  seconds   of source alone  FLOPs of source alone  GiB  formula")
    for base, with_adapter in ((bare, None), (trained, adapter)):
        first: tuple[float, float] | None = None
        for count in options.memories:
            turn = turn_of(size, base, count, device)
            seconds, peak = Step(dit, with_adapter, turn).measure()
            shape = size.shape if with_adapter is not None else without_adapter(size.shape)
            cost, _ = plan_costs(turn.plan, size.latent, shape, base.mode, has_source=True)
            first = first or (seconds, cost.flops)
            print(
                f"{base.mode:14s} {count:8d} {seconds:8.3f} {seconds / first[0]:17.2f} "
                f"{cost.flops / first[1]:22.2f} {peak:4.1f} {cost.activation_bytes / GIB:8.1f}"
            )
    step = Step(dit, None, turn_of(size, bare, 0, device))
    source = step.turn.source
    assert source is not None, "the turn has a source"
    behind = torch.cat((step.noisy, source[None]), dim=2)
    with torch.no_grad():
        own = dit(behind, step.timestep, step.context).sample[:, :, : step.noisy.shape[2]]
    difference = (step.run() - own).float().abs().max().item()
    print(f"no memories against diffusers' own forward: largest difference {difference:.2e}")
    print(f"of values that spread by {own.float().std().item():.2f}")


def without_adapter(shape: DitShape) -> DitShape:
    """The sizes of the base alone."""
    return DitShape(
        shape.dim, shape.ffn_dim, shape.num_blocks, has_adapter=False, has_mergers=False
    )


if __name__ == "__main__":
    main()
