"""The settings of the edit of a long video."""

import re
from dataclasses import dataclass, field

from ..bases.base_info import BaseInfo
from ..cache.memory_cache import MemoryCache
from ..clips.segments import SegmentPlan
from ..retrieval.descriptors import LIGHT
from ..retrieval.segments import SegmentQuery, SegmentRetrievalConfig, retrieve_by_similarity
from ..retrieval.selection import Retrieval
from ..tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from ..tokens.reuse import AUTOMATIC, ReuseConfig
from ..tokens.tokenizers import BASE_KERNEL
from ..vocabulary import EditMode, KeptPrecision, MemoryRange, UnresponsiveChoice


@dataclass(frozen=True)
class SamplerSettings:
    """The same settings as KSampler's.

    seed: of the whole video; each segment derives its own seed from it.
    """

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str


@dataclass(frozen=True)
class MemorySettings:
    """Which memories a segment sees, and how.

    k: how many.
    descriptor: name of the extractor that compares sources.
    recent_first, shot_aware, min_similarity: see `SegmentRetrievalConfig`; 0 takes the descriptor's
    own similarity.
    unresponsive, memory_range, memory_frames: see `plan_tokens`.
    refresh_every, kept_precision: see `ReuseConfig`.
    """

    k: int = 4
    descriptor: str = LIGHT
    recent_first: bool = True
    shot_aware: bool = True
    min_similarity: float = 0.0
    unresponsive: UnresponsiveChoice = "automatic"
    memory_range: MemoryRange = "own"
    memory_frames: int = 0
    refresh_every: int = AUTOMATIC
    kept_precision: KeptPrecision = "full"

    @property
    def reuse(self) -> ReuseConfig:
        """How clean tokens are reused.

        Raises: ValueError for a negative number.
        """
        return ReuseConfig(self.refresh_every, self.kept_precision)

    def parts(self, base: BaseInfo) -> tuple[object, ...]:
        """Everything that decides what the model sees of earlier segments, as plain values."""
        unresponsive = self.unresponsive
        # "automatic" counts as its meaning here: choosing that value by name makes nothing again.
        if unresponsive == "automatic":
            unresponsive = "keep" if base.mode == "training-free" else "merge"
        choice = (self.k, self.descriptor, self.recent_first, self.shot_aware, self.min_similarity)
        # Whole videos, the only choice of older versions, are not named: their sessions stay valid.
        frames = (self.memory_frames,) if self.memory_frames else ()
        # Reuse counts by what it means here too, and its default is not named.
        measured, is_constant = base.refresh_every, base.has_constant_clean_tokens
        every, automatic = (
            reuse.calls_between(measured, is_constant) for reuse in (self.reuse, ReuseConfig())
        )
        is_usual = every == automatic and (every == 1 or self.kept_precision == "full")
        reuse = () if is_usual else ("reuse", every, self.kept_precision)
        return *choice, unresponsive, self.memory_range, *frames, *reuse

    def retrieve(self, cache: MemoryCache, query: SegmentQuery, base: BaseInfo) -> Retrieval:
        """The memories for a segment whose source was described.

        Raises: ValueError for entries that have no such descriptor.
        """
        assert query.descriptor is not None, "a segment is described before it is compared"
        # Source tokens take the range of the segment before, and 0 stands for the default.
        config = SegmentRetrievalConfig(
            enforce_recent_first=self.recent_first,
            shot_aware=self.shot_aware,
            min_similarity=self.min_similarity or None,
            has_previous_range=not base.has_source_tokens,
        )
        return retrieve_by_similarity(
            cache, query.descriptor, query.descriptor_name, query.segment, self.k, config
        )

    def plan(self, cache: MemoryCache, query: SegmentQuery, base: BaseInfo) -> TokenPlan:
        """The retrieved memories with kernels and merging.

        The node Dynamic Tokenize makes the same plan. A base that was trained to read references
        reads them at 1x2x2, as in its training.
        """
        config = BudgetConfig()
        if base.has_source_ids:
            config = BudgetConfig(top_kernel=BASE_KERNEL, rest_kernel=BASE_KERNEL)
        return plan_tokens(
            self.retrieve(cache, query, base),
            config,
            memory_frames=self.memory_frames,
            unresponsive=self.unresponsive,
            memory_range=self.memory_range,
            reuse=self.reuse,
        )


@dataclass(frozen=True)
class RedoSettings:
    """Segments (from 0) to make again with new noise.

    seed: of the new noise. redoes_stale: whether segments that saw the old edits are made again
    too.
    """

    segments: frozenset[int] = frozenset()
    seed: int = 1
    redoes_stale: bool = False


@dataclass(frozen=True, eq=False)
class LongEdit:
    """Everything that a user asks of an edit.

    seed: of the whole video.
    settings_hash: of everything that decides all segments in the same way, see
    `recipe.hash_settings`.
    prompt: the instruction in words, where it is known; stored with entries.
    """

    base: BaseInfo
    plan: SegmentPlan
    mode: EditMode
    seed: int
    memory: MemorySettings = field(default_factory=MemorySettings)
    redo: RedoSettings = field(default_factory=RedoSettings)
    settings_hash: str = ""
    prompt: str = ""


def parse_segments(text: str, num_segments: int) -> frozenset[int]:
    """Indices from 0 of the segments that `text` names by numbers from 1, as in "2, 5".

    Raises: ValueError for words that are not numbers and for segments that the video does not have.
    """
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    wrong = [word for word in words if not word.isdecimal() or not 1 <= int(word) <= num_segments]
    if wrong:
        raise ValueError(
            f"redo got {', '.join(map(repr, wrong))}, wanted numbers from 1 to {num_segments}, the "
            "segments of this video, as in '2, 5'; leave it empty to redo none"
        )
    return frozenset(int(word) - 1 for word in words)
