"""What cheaper references cost a base that was trained on whole ones: agreement against tokens.

    python benchmarks/references.py --clips 8 --output references.md

The built-in `reference_edit` edits held-out one-shot clips of six segments (see
`evaluation.long_video`) with its own earlier segments as references: whole at 1x2x2 as in its
training, by their best frames, at coarser kernels, and merged. It was trained for the first alone.
"""

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.evaluation.long_video.arms import ClipHost, edit_alone, edit_with_memory
from memv2v_core.evaluation.long_video.clips import long_clip
from memv2v_core.evaluation.long_video.measures import clip_looks
from memv2v_core.evaluation.metrics.segment_looks import difference_among
from memv2v_core.evaluation.statistics import mean_estimate
from memv2v_core.long_edit.settings import MemorySettings
from memv2v_core.retrieval.segments import SegmentQuery
from memv2v_core.tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.merging import MergeConfig

NUM_MEMORIES = 4


@dataclass(frozen=True)
class Budgeted(MemorySettings):
    """The node's settings, with kernels of one's own."""

    top_kernel: int = 2
    rest_kernel: int = 2

    def plan(self, cache: MemoryCache, query: SegmentQuery, base: BaseInfo) -> TokenPlan:
        return plan_tokens(
            self.retrieve(cache, query, base),
            BudgetConfig(top_kernel=self.top_kernel, rest_kernel=self.rest_kernel),
            unresponsive=self.unresponsive,
            memory_frames=self.memory_frames,
        )


ARMS = {
    "whole, 1x2x2 (as trained)": Budgeted(),
    "the best 2 frames of each, 1x2x2": Budgeted(memory_frames=2),
    "whole, 1x2x2, half of the frames merged twice": Budgeted(unresponsive="merge"),
    "whole, 1x4x4": Budgeted(top_kernel=4, rest_kernel=4),
    "whole, 1x4x4 for three, 1x8x8 for the rest": Budgeted(top_kernel=4, rest_kernel=8),
}


def cost_of(settings: Budgeted, shape: DitShape, side: int, num_frames: int) -> float:
    """FLOPs of a step with four references, divided by a step with the source alone."""
    frames = settings.memory_frames or num_frames
    kernels = (settings.top_kernel,) * 3 + (settings.rest_kernel,)
    merging = MergeConfig() if settings.unresponsive == "merge" else None
    size = num_frames, side, side
    seen = plan_layout(*size, True, (frames,) * NUM_MEMORIES, kernels)
    alone = plan_layout(*size, True, (), ())
    return forward_cost(seen, shape, merging).flops / forward_cost(alone, shape, None).flops


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("references.md"))
    arguments = parser.parse_args()
    bundle = load_bundle("reference_edit")
    dit = bundle.info.dit
    shape = DitShape(
        dim=dit.dim, ffn_dim=dit.ffn_dim, num_blocks=dit.num_layers, num_text_tokens=16
    )
    shape = replace(shape, has_adapter=False, has_mergers=False, head_dim=dit.dim // dit.num_heads)
    found: dict[str, list[tuple[float, float]]] = {"no memory": []} | {arm: [] for arm in ARMS}
    for i in range(arguments.clips):
        clip = long_clip("one_shot", i, bundle.info)
        for arm, values in found.items():
            # A host of its own: results are shared by what a turn sees, not by how.
            host = ClipHost(bundle, clip)
            latent = edit_with_memory(host, ARMS[arm]) if arm in ARMS else edit_alone(host)
            video = bundle.codec.decode_frames(latent)
            values.append(difference_among(clip_looks(clip, host.plan, video)))
            print(f"clip {i}, {arm}: {values[-1]}", flush=True)
    side = bundle.info.size // bundle.codec.ratios.spatial
    lines = [
        "| References | FLOPs of a step | Colour difference | Shape difference |",
        "|---|---|---|---|",
    ]
    for arm, values in found.items():
        cells = []
        for column in zip(*values, strict=True):
            finite = [value for value in column if math.isfinite(value)]
            mean = mean_estimate(torch.tensor(finite, dtype=torch.float64))
            cells.append(f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})")
        flops = cost_of(ARMS[arm], shape, side, bundle.info.num_frames) if arm in ARMS else 1.0
        lines.append(f"| {arm} | {flops:.2f} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
