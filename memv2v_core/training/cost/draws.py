"""All that a step may draw of memory, with its probability: `data.draws` without chance."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial, prod

from ...shapes import token_grid
from ...tokens.budget import KERNELS
from ...tokens.layout import SequenceLayout, build_layout
from ...tokens.merging import MergeConfig
from ...tokens.tokenizers import BASE_KERNEL
from ...vocabulary import Role
from ..config.data import MemoryDraws
from ..config.run import TrainConfig
from .clips import ClipSizes

# The share of merged frames is drawn from a range; this many values in equal distances stand for
# it.
_NUM_SHARES = 8

Kernels = tuple[int, ...]


@dataclass(frozen=True)
class Draw:
    """What one step shows beside its target.

    kernels: of the memories, finest first. has_source: whether the source's tokens are there.
    share: of the frames to merge; None merges nothing.
    """

    probability: float
    kernels: Kernels
    has_source: bool
    share: float | None

    @property
    def merging(self) -> MergeConfig | None:
        return None if self.share is None else MergeConfig(self.share)

    def layout(self, clips: ClipSizes) -> SequenceLayout:
        """The tokens of a row of these clips."""
        size = (clips.height, clips.width)
        shapes: list[tuple[Role, int, int, int, int]] = [
            ("target", BASE_KERNEL, clips.target_frames, *token_grid(*size, BASE_KERNEL))
        ]
        if self.has_source:
            shapes.append(
                ("source", BASE_KERNEL, clips.source_frames, *token_grid(*size, BASE_KERNEL))
            )
        for kernel in sorted(set(self.kernels)):
            frames = clips.memory_frames * self.kernels.count(kernel)
            shapes.append(("memory", kernel, frames, *token_grid(*size, kernel)))
        return build_layout(shapes)


def possible_draws(config: TrainConfig, has_source_tokens: bool) -> tuple[Draw, ...]:
    """All draws of a step, at most one with the same content; their probabilities add up to 1.

    has_source_tokens: whether the base takes its source as tokens.
    """
    memory, previous_share = _memory_of(config)
    total, found = sum(memory.counts), []
    for count, weight in enumerate(memory.counts):
        drop = memory.drop_source if count > 0 else 0.0
        sources = ((True, 1 - drop), (False, drop)) if has_source_tokens else ((False, 1.0),)
        for kernels, p_kernels in _kernels(memory, previous_share, count).items():
            for has_source, p_source in sources:
                for share, p_share in _shares(memory):
                    p = weight / total * p_kernels * p_source * p_share
                    if p > 0:
                        found.append(Draw(p, kernels, has_source, share))
    return tuple(found)


def _memory_of(config: TrainConfig) -> tuple[MemoryDraws, float]:
    """What is drawn of memory, and the share of steps whose first memory is the segment before."""
    if config.scenes is not None:
        return config.scenes.memory, 0.0
    examples = config.prepared or config.worlds
    assert examples is not None, "TrainConfig has checked it"
    # New camera paths have no segments.
    is_edit = config.task == "text_edit"
    return examples.memory, examples.previous_share if is_edit else 0.0


def _kernels(memory: MemoryDraws, previous_share: float, count: int) -> dict[Kernels, float]:
    """The kernels of `count` memories, with their probabilities."""
    found: dict[Kernels, float] = {}
    # The segment before keeps its place and has the base's kernel.
    cases = ((1 - previous_share, 0), (previous_share, 1)) if count > 0 else ((1.0, 0),)
    for p_case, num_previous in cases:
        for kernels, p in _drawn_kernels(memory, count - num_previous):
            whole = tuple(sorted((BASE_KERNEL,) * num_previous + kernels))
            found[whole] = found.get(whole, 0.0) + p_case * p
    return found


def _drawn_kernels(memory: MemoryDraws, count: int) -> Iterator[tuple[Kernels, float]]:
    shares = {k: p / sum(memory.kernels) for k, p in zip(KERNELS, memory.kernels, strict=True)}
    for kernel, p in shares.items():
        yield (kernel,) * count, memory.single_kernel_share * p
    for kernels in combinations_with_replacement(KERNELS, count):
        # How many orders have these kernels.
        orders = factorial(count) // prod(factorial(kernels.count(k)) for k in KERNELS)
        p = orders * prod(shares[k] for k in kernels)
        yield kernels, (1 - memory.single_kernel_share) * p


def _shares(memory: MemoryDraws) -> Iterator[tuple[float | None, float]]:
    yield None, 1 - memory.merge_probability
    low, high = memory.merge_shares
    for i in range(_NUM_SHARES):
        share = low + (high - low) * (i + 0.5) / _NUM_SHARES
        yield share, memory.merge_probability / _NUM_SHARES
