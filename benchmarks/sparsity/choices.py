"""Which clean tokens the target's queries see: the most responsive frames, or blocks by their mean
query and key.

B rows, T target tokens, Lc clean tokens, d width of a head. What is kept is a mask of booleans
(B, 1 or heads, 1 or T, Lc), True for what a query sees.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.tokens.layout import FrameGroup, SequenceLayout
from memv2v_core.tokens.merging import (
    GroupSplit,
    MergeConfig,
    frame_responsiveness,
    merge_blocks,
    plan_merge,
    pool_groups,
)

# Where frames are chosen: before every block, or before the two merging blocks for the blocks from
# there on. Until then all are seen.
Places = Literal["every block", "merging blocks"]
Moments = Literal["every call", "every refresh"]


class Choice(Protocol):
    """Chooses in every block of every call."""

    def look(self, view: DiffusersView, block_idx: int, x: torch.Tensor) -> None:
        """See the input (B, L, D) of a block's self-attention.

        L is all tokens in a refresh, and the target's tokens in a call that reuses.
        """
        ...

    def kept(self, block_idx: int, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
        """The mask for queries (B, heads, T, d) of the target and clean keys (B, heads, Lc, d).

        Both are rotated. None keeps all.
        """
        ...


@dataclass(frozen=True)
class FramePruning:
    """The `share` of the clean frames that is most responsive (Eq. 4-5, arXiv:2601.16296v2).

    ranks_all: all frames compete; else each group of one role and kernel loses the same share, as
    in merging.
    """

    share: float
    places: Places = "every block"
    moments: Moments = "every call"
    ranks_all: bool = False

    def choice(self, layout: SequenceLayout, num_blocks: int) -> "FrameChoice":
        return FrameChoice(self, layout, num_blocks)


@dataclass(frozen=True)
class BlockPruning:
    """For each block of queries and each head, the `share` of the blocks of clean keys that scores
    best.

    size: tokens of a block, in the order of the sequence; a square tile of one frame where
    `is_tile`. by: "means" takes the product of the mean query and the mean key, as kernels do;
    "attention" the attention itself, the ceiling for any choice; "chance" is the floor.
    serves_frame: all queries of a frame see the same blocks, the ones that get most of the
    attention between mean queries and mean keys. Any dense kernel can then run, frame by frame.
    """

    share: float
    size: int = 64
    is_tile: bool = False
    by: Literal["means", "attention", "chance"] = "means"
    serves_frame: bool = False

    def choice(self, layout: SequenceLayout, _num_blocks: int) -> "BlockChoice":
        return BlockChoice(self, layout)


Pruning = FramePruning | BlockPruning


@dataclass(eq=False)
class FrameChoice:
    """Frames of one run."""

    pruning: FramePruning
    layout: SequenceLayout
    num_blocks: int
    _keys: dict[int, torch.Tensor] = field(default_factory=dict)
    _chosen: dict[int, torch.Tensor] = field(default_factory=dict)

    def look(self, view: DiffusersView, block_idx: int, x: torch.Tensor) -> None:
        if self.decides_at(block_idx) != block_idx:
            return
        num_target = self.layout.num_target_tokens
        is_refresh = x.shape[1] > num_target
        if is_refresh:
            # Keys before RoPE, as the core scores frames.
            self._keys[block_idx] = view.key(block_idx, x[:, num_target:])
        elif self.pruning.moments == "every refresh":
            return
        config = MergeConfig(1 - self.pruning.share)
        query = view.query(block_idx, x[:, :num_target])
        groups = pool_groups(self.layout, config)
        scores = frame_responsiveness(query, self._keys[block_idx], groups, num_target)
        self._chosen[block_idx] = self._tokens(scores, config)

    def kept(self, block_idx: int, _query: torch.Tensor, _key: torch.Tensor) -> torch.Tensor | None:
        place = self.decides_at(block_idx)
        return None if place is None else self._chosen[place]

    def decides_at(self, block_idx: int) -> int | None:
        """The block whose choice counts at `block_idx`; None before the first."""
        if self.pruning.places == "every block":
            return block_idx
        return max((i for i in merge_blocks(self.num_blocks) if i <= block_idx), default=None)

    def _tokens(self, scores: torch.Tensor, config: MergeConfig) -> torch.Tensor:
        if self.pruning.ranks_all:
            best = scores.topk(math.ceil(self.pruning.share * scores.shape[1]), dim=1).indices
            frames = torch.zeros_like(scores, dtype=torch.bool).scatter(1, best, True)
        else:
            frames = torch.zeros_like(scores, dtype=torch.bool)
            first = 0
            for piece in plan_merge(self.layout, config, scores).pieces:
                if isinstance(piece, GroupSplit):
                    frames.scatter_(1, first + piece.kept, True)
                    first += piece.group.num_frames
        counts = torch.tensor(
            [g.tokens_per_frame for g in self.layout.conditioning for _ in range(g.num_frames)]
        )
        return frames.repeat_interleave(counts, dim=1)[:, None, None]


@dataclass(eq=False)
class BlockChoice:
    """Blocks of one run."""

    pruning: BlockPruning
    layout: SequenceLayout

    def __post_init__(self) -> None:
        target, clean = self.layout.groups[:1], self.layout.conditioning
        self._query_blocks, self._key_blocks = self._blocks(target), self._blocks(clean)
        self._generator = torch.Generator().manual_seed(0)

    def look(self, _view: DiffusersView, _block_idx: int, _x: torch.Tensor) -> None:
        """Attention's own queries and keys are enough."""

    def kept(self, _block_idx: int, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        scores = self._scores(query, key)  # (B, heads, query blocks, key blocks)
        count = kept_blocks(scores.shape[-1], self.pruning.share)
        if self.pruning.serves_frame:
            scores = self._for_frames(scores, query.shape[-1])
        best = scores.topk(count, dim=-1).indices
        seen = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)
        return seen[:, :, self._query_blocks][..., self._key_blocks]

    def _scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        if self.pruning.by == "attention":
            weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
            by_query_block = _means(weights, self._query_blocks)
            return _means(by_query_block.mT, self._key_blocks).mT
        scores = _means(query, self._query_blocks) @ _means(key, self._key_blocks).mT
        if self.pruning.by == "chance":
            return torch.rand(scores.shape, generator=self._generator)
        return scores

    def _for_frames(self, scores: torch.Tensor, head_dim: int) -> torch.Tensor:
        sizes = self._key_blocks.bincount()
        weights = (scores / head_dim**0.5 + sizes.log()).softmax(-1) / sizes
        per_frame = scores.shape[2] // self.layout.groups[0].num_frames
        frames = weights.unflatten(2, (-1, per_frame)).mean(3)
        return frames.repeat_interleave(per_frame, dim=2)

    def _blocks(self, groups: tuple[FrameGroup, ...]) -> torch.Tensor:
        """The number of each token's block."""
        size = self.pruning.size
        if not self.pruning.is_tile:
            return torch.arange(sum(group.num_tokens for group in groups)) // size
        side, numbers, first = math.isqrt(size), [], 0
        for group in groups:
            rows, columns = (torch.arange(n) // side for n in (group.rows, group.columns))
            tile = rows[:, None] * (int(columns[-1]) + 1) + columns
            count = int(tile[-1, -1]) + 1
            frames = torch.arange(group.num_frames)[:, None] * count + tile.flatten()
            numbers.append(first + frames.flatten())
            first += group.num_frames * count
        return torch.cat(numbers)


def kept_blocks(num_blocks: int, share: float) -> int:
    """Blocks that a share keeps, rounded half up."""
    return max(1, math.floor(num_blocks * share + 0.5))


def _means(values: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """Means (B, heads, blocks, d) of values (B, heads, tokens, d)."""
    num_blocks = int(blocks[-1]) + 1
    sums = values.new_zeros(*values.shape[:2], num_blocks, values.shape[-1])
    return sums.index_add(2, blocks, values) / blocks.bincount()[:, None]
