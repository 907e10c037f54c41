"""The settings of the edit of a long video."""

from dataclasses import dataclass, field

from ..bases.base_info import BaseInfo
from ..cache.memory_cache import MemoryCache
from ..clips.segments import SegmentPlan
from ..resuming.settings import RedoSettings, TokenSettings
from ..retrieval.descriptors import LIGHT
from ..retrieval.segments import SegmentQuery, SegmentRetrievalConfig, retrieve_by_similarity
from ..retrieval.selection import Retrieval
from ..tokens.budget import BudgetConfig, TokenPlan, plan_tokens
from ..tokens.tokenizers import BASE_KERNEL
from ..vocabulary import EditMode


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
class MemorySettings(TokenSettings):
    """Which memories a segment sees, and how.

    k: how many.
    descriptor: name of the extractor that compares sources.
    recent_first, shot_aware, min_similarity: see `SegmentRetrievalConfig`; 0 takes the descriptor's
    own similarity.
    """

    k: int = 4
    descriptor: str = LIGHT
    recent_first: bool = True
    shot_aware: bool = True
    min_similarity: float = 0.0

    def parts(self, base: BaseInfo) -> tuple[object, ...]:
        """Everything that decides what the model sees of earlier segments, as plain values."""
        choice = (self.k, self.descriptor, self.recent_first, self.shot_aware, self.min_similarity)
        return *choice, *self.token_parts(base)

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
