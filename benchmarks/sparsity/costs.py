"""FLOPs of a step whose target sees a part of the clean tokens, by the core's arithmetic."""

import math
from dataclasses import dataclass

from memv2v_core.builtin.info import BuiltinInfo
from memv2v_core.tokens.budget import BudgetConfig, kernels_by_rank
from memv2v_core.tokens.cost import DitShape, forward_cost, plan_layout
from memv2v_core.tokens.layout import SequenceLayout
from memv2v_core.tokens.merging import MergeConfig, merge_blocks, merged_counts, pool_groups

from .choices import BlockPruning, FramePruning, Pruning, kept_blocks

# Wan2.1-1.3B with ReCamMaster's layers at 81 frames of 480 x 832.
FULL_SHAPE = DitShape(dim=1536, ffn_dim=8960, num_blocks=30)
FULL_LATENT = (21, 60, 104)


def full_layout(num_memories: int) -> SequenceLayout:
    """The sequence at full size: target, source and so many memories."""
    frames = (FULL_LATENT[0],) * num_memories
    return plan_layout(*FULL_LATENT, True, frames, kernels_by_rank(num_memories, BudgetConfig()))


def small_shape(info: BuiltinInfo) -> DitShape:
    """The sizes of a built-in model."""
    dit = info.dit
    return DitShape(
        dit.dim, dit.ffn_dim, dit.num_layers, num_text_tokens=1, head_dim=dit.dim // dit.num_heads
    )


@dataclass(frozen=True)
class Run:
    """How often clean tokens are refreshed.

    num_calls: of the whole run; None is very many.
    """

    refresh_every: int = 1
    num_calls: int | None = None

    @property
    def refresh_share(self) -> float:
        """The part of all calls that refreshes."""
        if self.num_calls is None:
            return 1 / self.refresh_every
        return math.ceil(self.num_calls / self.refresh_every) / self.num_calls


def step_flops(
    layout: SequenceLayout,
    shape: DitShape,
    run: Run,
    merging: MergeConfig | None = None,
    pruning: Pruning | None = None,
) -> float:
    """FLOPs of one step, on average over a run."""
    assert merging is None or pruning is None, "no arm prunes what is merged"
    whole = forward_cost(layout, shape, merging).mean_flops(run.refresh_every, run.num_calls)
    if pruning is None:
        return whole
    return (
        whole - _saved_flops(layout, shape, pruning) + _choosing_flops(layout, shape, run, pruning)
    )


def _saved_flops(layout: SequenceLayout, shape: DitShape, pruning: Pruning) -> float:
    # Refreshing and reusing calls save the same: clean tokens attend as they do.
    num_clean = layout.num_tokens - layout.num_target_tokens
    num_sparse = shape.num_blocks
    if isinstance(pruning, FramePruning) and pruning.places == "merging blocks":
        num_sparse -= merge_blocks(shape.num_blocks)[0]
    dropped = num_clean - num_kept(layout, pruning)
    return 2 * 2 * layout.num_target_tokens * dropped * shape.dim * num_sparse


def num_kept(layout: SequenceLayout, pruning: Pruning) -> float:
    """Clean tokens that each of the target's queries sees, where frames are chosen."""
    num_clean = layout.num_tokens - layout.num_target_tokens
    if isinstance(pruning, BlockPruning):
        num_blocks = math.ceil(num_clean / pruning.size)
        return num_clean * kept_blocks(num_blocks, pruning.share) / num_blocks
    if pruning.ranks_all:
        # It depends on content; the mean is not far from the share.
        return num_clean * pruning.share
    pool = pool_groups(layout, MergeConfig())
    counts = merged_counts(pool, 1 - pruning.share)
    return num_clean - sum(n * g.tokens_per_frame for n, g in zip(counts, pool, strict=True))


def _choosing_flops(layout: SequenceLayout, shape: DitShape, run: Run, pruning: Pruning) -> float:
    num_target, dim = layout.num_target_tokens, shape.dim
    num_clean = layout.num_tokens - num_target
    if isinstance(pruning, BlockPruning):
        pairs = math.ceil(num_target / pruning.size) * math.ceil(num_clean / pruning.size)
        # Sums of queries and keys, then one product for each pair of blocks.
        return shape.num_blocks * (layout.num_tokens + 2 * pairs) * dim
    num_frames = sum(group.num_frames for group in layout.conditioning)
    is_rare = pruning.places == "merging blocks"
    num_choices = len(merge_blocks(shape.num_blocks)) if is_rare else shape.num_blocks
    how_often = run.refresh_share if pruning.moments == "every refresh" else 1
    # The block has made queries and keys. Their means change with a refresh alone.
    means = run.refresh_share * num_clean * dim
    return num_choices * (means + how_often * 2 * num_target * num_frames * dim)
