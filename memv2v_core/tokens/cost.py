"""The cost of one forward pass: tokens, FLOPs and memory, before anything runs.

Source: Fig. 9, arXiv:2601.16296v2.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ..shapes import token_grid
from ..vocabulary import Attention, Role, TurnMode
from .budget import TokenPlan
from .layout import SequenceLayout, build_layout
from .merging import (
    REDUCTION_SIDE,
    MergeConfig,
    merge_blocks,
    merged_layout,
    pool_groups,
    will_merge,
)
from .tokenizers import BASE_KERNEL


@dataclass(frozen=True)
class DitShape:
    """The sizes of a Wan DiT that decide its cost.

    has_adapter: whether camera encoders and projectors run in its blocks.
    has_mergers: whether merging is learned.
    attention, clean_reads_text: which tokens clean tokens attend to, and whether they attend to
    the prompt.
    """

    dim: int
    ffn_dim: int
    num_blocks: int
    num_text_tokens: int = 512
    head_dim: int = 128
    has_adapter: bool = True
    has_mergers: bool = True
    attention: Attention = "two_way"
    clean_reads_text: bool = True


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass for one row of a batch.

    tokens_in, tokens_out: tokens that enter the first block and leave the last.
    flops: multiplies and adds, counted separately.
    activation_bytes: bytes of activations at the fullest moment.
    reuse_flops: of a forward of the target alone that sees the kept keys and values of clean tokens
    (`sampling.reuse`). kept_bytes: bytes of those.
    """

    tokens_in: int
    tokens_out: int
    flops: int
    activation_bytes: int
    reuse_flops: int
    kept_bytes: int

    def mean_flops(self, refresh_every: int | None, num_calls: int | None = None) -> float:
        """FLOPs of a forward on average, where every `refresh_every`-th one refreshes.

        refresh_every: None refreshes once. num_calls: of the whole run; None is very many.
        """
        if num_calls is None:
            share = 0.0 if refresh_every is None else 1 / refresh_every
        else:
            share = math.ceil(num_calls / (refresh_every or num_calls)) / num_calls
        return share * self.flops + (1 - share) * self.reuse_flops


def plan_layout(
    num_frames: int,
    height: int,
    width: int,
    has_source: bool,
    memory_frames: tuple[int, ...],
    kernels: tuple[int, ...],
) -> SequenceLayout:
    """The layout of one forward for a target of `num_frames` x `height` x `width` latents.

    Memories are grouped by kernel.
    """
    rows, columns = token_grid(height, width, BASE_KERNEL)
    shapes: list[tuple[Role, int, int, int, int]] = [
        ("target", BASE_KERNEL, num_frames, rows, columns)
    ]
    if has_source:
        shapes.append(("source", BASE_KERNEL, num_frames, rows, columns))
    # One group per kernel, finest first, as `tokenize_clean` builds the sequence.
    for kernel in sorted(set(kernels)):
        frames = sum(count for count, k in zip(memory_frames, kernels, strict=True) if k == kernel)
        shapes.append(("memory", kernel, frames, *token_grid(height, width, kernel)))
    return build_layout(shapes)


def forward_cost(
    layout: SequenceLayout, shape: DitShape, merging: MergeConfig | None, bytes_per_value: int = 2
) -> Cost:
    """Cost of one forward.

    It counts attentions, feed-forward, projector and camera encoder, but no embeddings and no head.
    """
    flops, reuse_flops, tokens_in = 0, 0, layout.num_tokens
    # One pose per frame: merging changes tokens, not frames.
    num_poses = sum(group.num_frames for group in layout.groups)
    before = layout
    for inside in block_layouts(layout, shape.num_blocks, merging):
        if inside is not before:
            assert merging is not None, "without it no block merges"
            # Scores are computed on the sequence before the merge.
            flops += _scoring_flops(before, shape.dim, merging)
            # The convolution runs only on the frames that this block merges.
            if shape.has_mergers:
                flops += _merging_flops(_num_merged(inside) - _num_merged(before), shape.dim)
        flops += _block_flops(inside, num_poses, shape)
        reuse_flops += _reuse_flops(inside, shape)
        before = inside
    return Cost(
        tokens_in,
        before.num_tokens,
        flops,
        _peak_bytes(tokens_in, shape, bytes_per_value),
        reuse_flops,
        kept_bytes(layout, shape.num_blocks, shape.dim, merging, bytes_per_value),
    )


def block_layouts(
    layout: SequenceLayout, num_blocks: int, merging: MergeConfig | None
) -> Iterator[SequenceLayout]:
    """The layout inside every block, from the one before the first."""
    merge_at = merge_blocks(num_blocks) if will_merge(layout, merging) else ()
    for i in range(num_blocks):
        if i in merge_at:
            assert merging is not None, "without it no block merges"
            layout = merged_layout(layout, merging)
        yield layout


def kept_bytes(
    layout: SequenceLayout,
    num_blocks: int,
    dim: int,
    merging: MergeConfig | None,
    bytes_per_value: int = 2,
) -> int:
    """Bytes of the keys and values of all clean tokens in all blocks, for one row."""
    num_tokens = sum(
        inside.num_tokens - inside.num_target_tokens
        for inside in block_layouts(layout, num_blocks, merging)
    )
    return 2 * num_tokens * dim * bytes_per_value


def plan_costs(
    plan: TokenPlan,
    size: tuple[int, int, int],
    shape: DitShape,
    mode: TurnMode,
    has_source: bool,
    bytes_per_value: int = 2,
) -> tuple[Cost, Cost]:
    """Cost of one step with the plan, and of one step without memory and merging.

    Both are for one video of a batch.

    size: (T, H, W) of the target. mode: the mode of the base.
    has_source: whether the source's tokens are in the sequence.
    """
    frames = tuple(plan.frames_of(entry) for entry in plan.retrieval.entries)
    layout = plan_layout(*size, has_source, frames, plan.kernels)
    plain = plan_layout(*size, has_source, (), ())
    merging = plan.merging_for(mode)
    return (
        forward_cost(layout, shape, merging, bytes_per_value),
        forward_cost(plain, shape, None, bytes_per_value),
    )


def _peak_bytes(num_tokens: int, shape: DitShape, bytes_per_value: int) -> int:
    """Bytes of activations at the fullest moment, with an attention that keeps no scores.

    This moment comes in the first blocks, before anything is merged. It is one of two:
    - in a feed-forward: its hidden values exist twice, before and after its activation;
    - while RoPE turns the keys: the query is kept, and the values are copied to fp32 a few times.
    Beside either there are five values per token and channel (the first tokens, the block's input
    and state, attention's result, the layer's input) and RoPE's rotations: a 2x2 matrix of fp32 for
    each pair of channels.
    """
    beside = 5 * shape.dim * bytes_per_value + 4 * 2 * shape.head_dim
    feed_forward = 2 * shape.ffn_dim * bytes_per_value
    num_copies = 2 if bytes_per_value >= 4 else 3
    keys = shape.dim * (bytes_per_value + 4 * num_copies)
    return num_tokens * (beside + max(feed_forward, keys))


def _block_flops(layout: SequenceLayout, num_poses: int, shape: DitShape) -> int:
    dim, text = shape.dim, shape.num_text_tokens
    num_tokens, num_target = layout.num_tokens, layout.num_target_tokens
    # In one-way attention clean tokens do not see the target.
    num_clean = num_tokens - num_target
    pairs = num_tokens**2
    if shape.attention == "one_way":
        pairs -= num_clean * num_target
    readers = num_tokens if shape.clean_reads_text else num_target
    # A matrix product of (a, b) and (b, c) takes 2 a b c: a multiply and an add.
    # Self-attention: query, key, value and output, then scores and their weighted sum.
    self_attention = 4 * 2 * num_tokens * dim**2 + 2 * 2 * pairs * dim
    # The projector works on every token, the camera encoder on 12 numbers per frame.
    cameras = 2 * num_tokens * dim**2 + 2 * num_poses * 12 * dim if shape.has_adapter else 0
    # Cross-attention: query and output of the readers, key and value of the text, then both
    # products.
    cross_attention = 2 * 2 * (readers + text) * dim**2 + 2 * 2 * readers * text * dim
    return self_attention + cameras + cross_attention + 2 * 2 * num_tokens * dim * shape.ffn_dim


def _reuse_flops(layout: SequenceLayout, shape: DitShape) -> int:
    target = layout.groups[0]
    alone = _block_flops(SequenceLayout((target,)), target.num_frames, shape)
    # Scores and weighted sum of the kept tokens.
    num_kept = layout.num_tokens - target.num_tokens
    return alone + 2 * 2 * target.num_tokens * num_kept * shape.dim


def _scoring_flops(layout: SequenceLayout, dim: int, merging: MergeConfig) -> int:
    # Queries of the target and keys of the rest, then one score per query and frame.
    frames = sum(group.num_frames for group in pool_groups(layout, merging))
    return 2 * layout.num_tokens * dim**2 + 2 * layout.num_target_tokens * frames * dim


def _merging_flops(num_merged: int, dim: int) -> int:
    # Each merged token is a convolution over REDUCTION_SIDE x REDUCTION_SIDE tokens.
    return 2 * num_merged * REDUCTION_SIDE**2 * dim**2


def _num_merged(layout: SequenceLayout) -> int:
    return sum(group.num_tokens for group in layout.groups if group.is_merged)
