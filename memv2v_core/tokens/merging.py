"""Responsiveness of conditioning frames, and adaptive merging of the least responsive ones.

`plan_merge` decides once. `MergePlan` then applies the decision to everything a token carries:
hidden states go through the learned convolution, positions and rays through averages, and frame
numbers are picked.

Source: Sec. 3.4 and Eq. 4-6, arXiv:2601.16296v2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ..shapes import token_grid
from ..vocabulary import Pool, Unresponsive
from .layout import FrameGroup, SequenceLayout

# 2 x 2 tokens become one: r = 4 of Eq. 6. Our choice.
REDUCTION_SIDE = 2
# The range of the training, Sec. 4.1.
MIN_SHARE, MAX_SHARE = 0.3, 0.7
# Queries scored at once, so that the scores of a long target fit into memory.
_QUERY_CHUNK = 4096


@dataclass(frozen=True)
class MergeConfig:
    """How unresponsive frames are treated.

    share: part of the pool's frames that each merging block merges, in [0, 1].
    pool: frames that may be merged: source and memories, or memories alone.
    unresponsive: "merge"; "discard" or "keep" for the comparison of the paper's Fig. 8.
    rotated_keys: whether Eq. 5 compares queries and keys after RoPE.
    """

    share: float = 0.5
    pool: Pool = "conditioning"
    unresponsive: Unresponsive = "merge"
    rotated_keys: bool = False


def share_for(num_conditioning_videos: int) -> float:
    """Share of frames merged for this number of conditioning videos (source included).

    It is one half up to four videos and grows linearly to 0.7 at eleven and more.
    Our choice: the paper says "we scale r proportionally to the number of conditional videos"
    inside [0.3, 0.7].
    """
    return min(MAX_SHARE, 0.5 + 0.2 * max(0, num_conditioning_videos - 4) / 7)


def merge_blocks(num_blocks: int) -> tuple[int, int]:
    """The two blocks (from 0) before whose attention frames are merged.

    They lie at one third and two thirds of the depth: 10 and 20 of 30.
    """
    return num_blocks // 3, 2 * num_blocks // 3


def frame_responsiveness(
    query: torch.Tensor, key: torch.Tensor, groups: Sequence[FrameGroup], first_token: int
) -> torch.Tensor:
    """R_t of every frame of `groups`, (B, frames) in group order.

    query: (B, Lq, heads, d) of the target. key: (B, Lk, heads, d) of the tokens from `first_token`
    on. Scores are made per head and averaged over heads. Each row of the batch is scored alone.

    Source: Eq. 4-5, arXiv:2601.16296v2. Our choice: D is the head's width.
    """
    # Eq. 4: the mean key of each frame, in fp32.
    means = []
    for group in groups:
        tokens = key[:, group.start - first_token : group.start - first_token + group.num_tokens]
        means.append(
            tokens.unflatten(1, (group.num_frames, group.tokens_per_frame)).float().mean(2)
        )
    mean_key = torch.cat(means, dim=1)  # (B, frames, heads, d)
    # Eq. 5: the softmax runs over frames, the maximum over the queries of the target.
    best = None
    for chunk in query.split(_QUERY_CHUNK, dim=1):
        logits = torch.einsum("bqhd,bfhd->bhqf", chunk.float(), mean_key) / query.shape[-1] ** 0.5
        peak = logits.softmax(-1).amax(2)  # (B, heads, frames)
        best = peak if best is None else torch.maximum(best, peak)
    assert best is not None, "split gives at least one chunk"
    return best.mean(1)  # (B, frames)


@dataclass(frozen=True, eq=False)
class GroupSplit:
    """What happens to one group at a merging block.

    kept, merged: frame numbers, each (B, n), both in frame order.
    """

    group: FrameGroup
    kept: torch.Tensor
    merged: torch.Tensor


@dataclass(frozen=True, eq=False)
class MergePlan:
    """The decision for one merging block.

    pieces: untouched groups and split groups, in sequence order. layout: the layout after the
    merge.
    discards: the unresponsive frames are dropped, not merged.
    """

    pieces: tuple[FrameGroup | GroupSplit, ...]
    layout: SequenceLayout
    discards: bool

    @classmethod
    def joined(cls, plans: "Sequence[MergePlan]") -> "MergePlan":
        """One plan for the rows of several, whose sequences have one layout."""
        pieces: list[FrameGroup | GroupSplit] = []
        for each in zip(*(plan.pieces for plan in plans), strict=True):
            splits = [piece for piece in each if isinstance(piece, GroupSplit)]
            if not splits:
                pieces.append(each[0])
                continue
            kept, merged = ([getattr(s, name) for s in splits] for name in ("kept", "merged"))
            pieces.append(GroupSplit(splits[0].group, torch.cat(kept), torch.cat(merged)))
        return replace(plans[0], pieces=tuple(pieces))

    def of_rows(self, rows: slice) -> "MergePlan":
        """The plan of some rows alone."""

        def part(piece: FrameGroup | GroupSplit) -> FrameGroup | GroupSplit:
            if isinstance(piece, FrameGroup):
                return piece
            return replace(piece, kept=piece.kept[rows], merged=piece.merged[rows])

        return replace(self, pieces=tuple(map(part, self.pieces)))

    def equals(self, other: "MergePlan") -> bool:
        """Whether both treat the same frames in the same way."""
        if self.layout != other.layout or self.discards != other.discards:
            return False
        return all(
            not (isinstance(mine, GroupSplit) and isinstance(theirs, GroupSplit))
            or torch.equal(mine.merged, theirs.merged)
            for mine, theirs in zip(self.pieces, other.pieces, strict=True)
        )

    def apply(
        self, values: torch.Tensor, merge: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """`values` (B, L, D) in the new layout.

        merge: maps grids (B, n, rows, columns, D) to coarser grids.
        """
        parts = []
        for piece in self.pieces:
            if isinstance(piece, FrameGroup):
                parts.append(values[:, piece.tokens])
                continue
            group = piece.group
            frames = values[:, group.tokens].unflatten(
                1, (group.num_frames, group.rows, group.columns)
            )  # (B, frames, rows, columns, D)
            parts.append(_take_frames(frames, piece.kept).flatten(1, 3))
            if not self.discards:
                parts.append(merge(_take_frames(frames, piece.merged)).flatten(1, 3))
        return torch.cat(parts, dim=1)


def pool_groups(layout: SequenceLayout, config: MergeConfig) -> tuple[FrameGroup, ...]:
    """Groups whose frames are still whole and may be merged."""
    roles = ("source", "memory") if config.pool == "conditioning" else ("memory",)
    return tuple(
        group for group in layout.conditioning if group.role in roles and not group.is_merged
    )


def will_merge(layout: SequenceLayout, config: MergeConfig | None) -> bool:
    """Whether a forward with `layout` treats any frame as unresponsive."""
    if config is None or config.unresponsive == "keep":
        return False
    return len(pool_groups(layout, config)) > 0


def merged_layout(layout: SequenceLayout, config: MergeConfig) -> SequenceLayout:
    """The layout after one merging block.

    It depends on the counts alone, never on the content of frames.
    """
    # Groups that are merged already leave the pool: no frame is merged twice.
    pool = pool_groups(layout, config)
    counts = dict(zip(pool, merged_counts(pool, config.share), strict=True))
    groups: list[FrameGroup] = []
    start = 0
    for group in layout.groups:
        # A pooled group becomes two: the kept frames, then the merged ones on a coarser grid.
        pieces = _divide(group, counts[group], config) if group in counts else (group,)
        for piece in pieces:
            groups.append(replace(piece, start=start))
            start += piece.num_tokens
    return SequenceLayout(tuple(groups))


def plan_merge(
    layout: SequenceLayout, config: MergeConfig, responsiveness: torch.Tensor
) -> MergePlan:
    """The choice of the least responsive frames, a fixed share of every pooled group.

    responsiveness: (B, frames) in the order of `pool_groups`. A group has one role and one kernel,
    so token counts never depend on content, and every row of a batch may merge other frames.
    """
    pool = pool_groups(layout, config)
    counts = dict(zip(pool, merged_counts(pool, config.share), strict=True))
    pieces: list[FrameGroup | GroupSplit] = []
    first_frame = 0
    for group in layout.groups:
        if group not in counts:
            pieces.append(group)
            continue
        # The columns of `responsiveness` follow the pooled groups.
        scores = responsiveness[:, first_frame : first_frame + group.num_frames]
        first_frame += group.num_frames
        # The least responsive frames come first. Each part is then sorted by number again, so that
        # its frames stay in temporal order.
        order = scores.argsort(dim=1, stable=True)
        merged, kept = (part.sort(1).values for part in order.tensor_split((counts[group],), dim=1))
        pieces.append(GroupSplit(group, kept, merged))
    return MergePlan(tuple(pieces), merged_layout(layout, config), config.unresponsive == "discard")


def merged_counts(pool: Sequence[FrameGroup], share: float) -> list[int]:
    """Frames merged of each group, so that the whole pool loses its share.

    Running totals are rounded half up: rounding each group alone would add up errors.
    """
    counts, frames, done = [], 0, 0
    for group in pool:
        frames += group.num_frames
        total = math.floor(frames * share + 0.5)
        counts.append(total - done)
        done = total
    return counts


def merge_average(grid: torch.Tensor) -> torch.Tensor:
    """2 x 2 averages of (B, n, rows, columns, D), for positions and rays.

    Odd grids repeat their border first.
    """
    batch, num_frames = grid.shape[:2]
    images = pad_grid(grid.flatten(0, 1).movedim(-1, 1))  # (B*n, D, rows, columns)
    return F.avg_pool2d(images, REDUCTION_SIDE).movedim(1, -1).unflatten(0, (batch, num_frames))


def pad_grid(images: torch.Tensor) -> torch.Tensor:
    """Images (N, D, rows, columns) grown to even sizes by repeating the border.

    15 x 26 becomes 16 x 26.
    """
    # F.pad counts from the last axis: right of the columns, then below the rows.
    padding = (0, images.shape[-1] % REDUCTION_SIDE, 0, images.shape[-2] % REDUCTION_SIDE)
    return F.pad(images, padding, mode="replicate") if any(padding) else images


def _divide(group: FrameGroup, num_merged: int, config: MergeConfig) -> tuple[FrameGroup, ...]:
    kept = replace(group, num_frames=group.num_frames - num_merged)
    if config.unresponsive == "discard":
        return (kept,)
    rows, columns = token_grid(group.rows, group.columns, REDUCTION_SIDE)
    return kept, replace(group, num_frames=num_merged, rows=rows, columns=columns, is_merged=True)


def _take_frames(frames: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    # Every row of the batch takes its own frames.
    rows = torch.arange(frames.shape[0], device=frames.device)[:, None]
    return frames[rows, indices]
