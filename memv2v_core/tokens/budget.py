"""How many tokens each retrieved video gets, and what one forward pass will cost.

Source: Sec. 3.3 and Fig. 9, arXiv:2601.16296v2.
"""

from dataclasses import dataclass

from ..retrieval.selection import Retrieval
from ..shapes import token_grid
from ..vocabulary import CameraChoice, MemoryRange, Pool, Unresponsive
from .layout import SequenceLayout, build_layout
from .merging import (
    MAX_SHARE,
    MIN_SHARE,
    REDUCTION_SIDE,
    MergeConfig,
    merge_blocks,
    merged_layout,
    pool_groups,
    share_for,
    will_merge,
)
from .tokenizers import BASE_KERNEL

NUM_TOP_RANKS = 3
KERNELS = (2, 4, 8)


@dataclass(frozen=True)
class BudgetConfig:
    """Kernels by rank: the first `num_top` memories get `top_kernel`, the others `rest_kernel`.

    The segment before the target gets `previous_kernel` and counts for no rank. Our choice: the
    paper is silent.
    """

    num_top: int = NUM_TOP_RANKS
    top_kernel: int = 4
    rest_kernel: int = 8
    previous_kernel: int = BASE_KERNEL

    def __post_init__(self) -> None:
        for name in ("top_kernel", "rest_kernel", "previous_kernel"):
            if getattr(self, name) not in KERNELS:
                raise ValueError(
                    f"{name} got {getattr(self, name)}, wanted one of {KERNELS}; choose a trained "
                    "tokenizer"
                )


@dataclass(frozen=True, eq=False)
class TokenPlan:
    """Retrieved memories with the kernel of each, and how their tokens are treated inside the DiT.

    kernels: one a ranked entry. merging: None leaves every frame whole. memory_range: see
    `positions`.
    camera_conditioning: Eq. 17 or Eq. 16, see `MemoryInputs`, or as the base's weights were
    trained.
    """

    retrieval: Retrieval
    kernels: tuple[int, ...]
    merging: MergeConfig | None = None
    memory_range: MemoryRange = "own"
    camera_conditioning: CameraChoice = "as_trained"


def plan_tokens(
    retrieval: Retrieval,
    config: BudgetConfig | None = None,
    unresponsive: Unresponsive = "merge",
    share: float = 0.0,
    pool: Pool = "conditioning",
    memory_range: MemoryRange = "own",
    camera_conditioning: CameraChoice = "as_trained",
) -> TokenPlan:
    """The plan for retrieved memories: kernels by rank, and of the frames a share merged, discarded
    or all kept.

    share: 0 for the one that suits the number of videos (`share_for`).

    Raises: ValueError for a share that merging was not trained with.
    """
    kernels = retrieval_kernels(retrieval, config or BudgetConfig())
    merging = None
    if unresponsive != "keep":
        if share != 0 and not MIN_SHARE <= share <= MAX_SHARE:
            raise ValueError(
                f"share got {share:g}, wanted 0 for automatic or {MIN_SHARE} to {MAX_SHARE}, the "
                "range of the paper's training; to merge nothing set unresponsive to keep"
            )
        merging = MergeConfig(share or share_for(len(kernels) + 1), pool, unresponsive)
    return TokenPlan(retrieval, kernels, merging, memory_range, camera_conditioning)


@dataclass(frozen=True)
class DitShape:
    """The sizes of a Wan DiT that decide its cost.

    has_adapter: whether camera encoders and projectors run in its blocks. has_mergers: whether
    merging is learned.
    """

    dim: int
    ffn_dim: int
    num_blocks: int
    num_text_tokens: int = 512
    head_dim: int = 128
    has_adapter: bool = True
    has_mergers: bool = True


@dataclass(frozen=True)
class Cost:
    """Of one forward pass, one row: tokens entering the first block and leaving the last,
    multiplies and adds counted separately, and bytes of activations at the fullest moment."""

    tokens_in: int
    tokens_out: int
    flops: int
    activation_bytes: int


def kernels_by_rank(num_entries: int, config: BudgetConfig) -> tuple[int, ...]:
    """Kernel of every rank, best first.

    Source: Sec. 3.3, arXiv:2601.16296v2: 1x4x4 for the top three, 1x8x8 for the rest.
    """
    return tuple(
        config.top_kernel if rank < config.num_top else config.rest_kernel
        for rank in range(num_entries)
    )


def retrieval_kernels(retrieval: Retrieval, config: BudgetConfig) -> tuple[int, ...]:
    """Kernel of every ranked entry: by rank, the previous segment of a long video aside."""
    by_rank = iter(
        kernels_by_rank(sum(not ranked.is_previous for ranked in retrieval.ranked), config)
    )
    return tuple(
        config.previous_kernel if ranked.is_previous else next(by_rank)
        for ranked in retrieval.ranked
    )


def plan_layout(
    num_frames: int,
    height: int,
    width: int,
    has_source: bool,
    memory_frames: tuple[int, ...],
    kernels: tuple[int, ...],
) -> SequenceLayout:
    """The layout of one forward for a target of `num_frames` x `height` x `width` latents, memories
    by kernel.
    """
    rows, columns = token_grid(height, width, BASE_KERNEL)
    shapes = [("target", BASE_KERNEL, num_frames, rows, columns)]
    if has_source:
        shapes.append(("source", BASE_KERNEL, num_frames, rows, columns))
    for kernel in sorted(set(kernels)):
        frames = sum(count for count, k in zip(memory_frames, kernels, strict=True) if k == kernel)
        shapes.append(("memory", kernel, frames, *token_grid(height, width, kernel)))
    return build_layout(shapes)


def forward_cost(
    layout: SequenceLayout, shape: DitShape, merging: MergeConfig | None, bytes_per_value: int = 2
) -> Cost:
    """Cost of one forward: attentions, feed-forward, projector and camera encoder; no embeddings,
    no head.
    """
    flops, tokens_in = 0, layout.num_tokens
    merge_at = merge_blocks(shape.num_blocks) if will_merge(layout, merging) else ()
    num_poses = sum(group.num_frames for group in layout.groups)
    for i in range(shape.num_blocks):
        if i in merge_at:
            flops += _scoring_flops(layout, shape.dim, merging)
            whole, layout = layout, merged_layout(layout, merging)
            if shape.has_mergers:
                flops += _merging_flops(_num_merged(layout) - _num_merged(whole), shape.dim)
        flops += _block_flops(layout.num_tokens, num_poses, shape)
    return Cost(tokens_in, layout.num_tokens, flops, _peak_bytes(tokens_in, shape, bytes_per_value))


def _peak_bytes(num_tokens: int, shape: DitShape, bytes_per_value: int) -> int:
    """Bytes of activations that live at the fullest moment, with an attention that keeps no scores.

    It comes in the first blocks, before anything is merged, and is one of two:
    - in a feed-forward, whose inside lives twice, before and after its activation;
    - while RoPE turns the keys, whose query is kept and whose values are copied to fp32 a few
      times. Beside either there are five values a token and channel (the tokens as they were made,
      the block's input and state, attention's result, what the layer reads) and RoPE's rotations: a
      2x2 matrix of fp32 for each pair of channels.
    """
    beside = 5 * shape.dim * bytes_per_value + 4 * 2 * shape.head_dim
    feed_forward = 2 * shape.ffn_dim * bytes_per_value
    num_copies = 2 if bytes_per_value >= 4 else 3
    keys = shape.dim * (bytes_per_value + 4 * num_copies)
    return num_tokens * (beside + max(feed_forward, keys))


def _block_flops(num_tokens: int, num_poses: int, shape: DitShape) -> int:
    dim, text = shape.dim, shape.num_text_tokens
    self_attention = 4 * 2 * num_tokens * dim**2 + 2 * 2 * num_tokens**2 * dim
    cameras = 2 * num_tokens * dim**2 + 2 * num_poses * 12 * dim if shape.has_adapter else 0
    cross_attention = 2 * 2 * (num_tokens + text) * dim**2 + 2 * 2 * num_tokens * text * dim
    return self_attention + cameras + cross_attention + 2 * 2 * num_tokens * dim * shape.ffn_dim


def _scoring_flops(layout: SequenceLayout, dim: int, merging: MergeConfig) -> int:
    frames = sum(group.num_frames for group in pool_groups(layout, merging))
    return 2 * layout.num_tokens * dim**2 + 2 * layout.num_target_tokens * frames * dim


def _merging_flops(num_merged: int, dim: int) -> int:
    return 2 * num_merged * REDUCTION_SIDE**2 * dim**2


def _num_merged(layout: SequenceLayout) -> int:
    return sum(group.num_tokens for group in layout.groups if group.is_merged)
