"""Which earlier segments of a long video help to edit the next one: those whose sources look like
its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..cache.entry import MemoryEntry, Segment
from ..cache.memory_cache import MemoryCache, preferred
from .descriptors import default_min_similarity
from .selection import RankedEntry, Retrieval, take


@dataclass(frozen=True)
class SegmentRetrievalConfig:
    """enforce_recent_first: the segment just before comes first, whatever its similarity.
    shot_aware: not across a cut, and segments of another shot count only from `min_similarity` on;
    False ranks as the paper does. min_similarity: cosine of two source descriptors, -1 to 1; None
    takes the default of the descriptor.
    """

    enforce_recent_first: bool = True
    shot_aware: bool = True
    min_similarity: float | None = None


def retrieve_by_similarity(
    cache: MemoryCache,
    descriptor: torch.Tensor,
    descriptor_name: str,
    segment: Segment,
    k: int,
    config: SegmentRetrievalConfig | None = None,
) -> Retrieval:
    """The `k` earlier segments whose sources are most like the source of `segment`, whose
    `descriptor` (D,) is given.

    Only entries with a smaller `segment.idx` count, of several for one segment the pinned, else the
    newest. See `take` for pins; a pinned entry of another shot is chosen however little it
    resembles.

    Departs from the paper: with `shot_aware` a new shot that resembles none before gets no memory,
    where the paper's ranking would hand it the shot before and leak that into it (App. G).

    Raises: ValueError when k is negative, or an entry has no descriptor or one of another
    extractor.
    Source: Alg. 2, arXiv:2601.16296v2.
    """
    config = config or SegmentRetrievalConfig()
    entries = _earlier(cache, segment)
    scores = _similarities(entries, descriptor, descriptor_name)
    threshold = config.min_similarity
    if threshold is None:
        threshold = default_min_similarity(descriptor_name)
    candidates = [
        RankedEntry(entry, score, is_previous=_is_previous(entry, segment, config))
        for entry, score in zip(entries, scores, strict=True)
    ]
    order = sorted(candidates, key=lambda found: (-found.score, -found.entry.segment.idx))
    if config.enforce_recent_first:
        order.sort(key=lambda found: not found.is_previous)
    counts = [
        not config.shot_aware
        or found.entry.segment.shot == segment.shot
        or found.score >= threshold
        for found in order
    ]
    counting = [
        found for found, does in zip(order, counts, strict=True) if does or found.entry.is_pinned
    ]
    others = [
        found
        for found, does in zip(order, counts, strict=True)
        if not (does or found.entry.is_pinned)
    ]
    ranked, rejected = take(counting, k)
    return Retrieval(None, ranked, (*rejected, *others))


def _earlier(cache: MemoryCache, segment: Segment) -> list[MemoryEntry]:
    """One entry for each segment before this one, in the order of the video."""
    found: dict[int, list[MemoryEntry]] = {}
    for entry in cache.entries:
        if entry.segment is not None and entry.segment.idx < segment.idx:
            found.setdefault(entry.segment.idx, []).append(entry)
    return [preferred(found[idx]) for idx in sorted(found)]


def _is_previous(entry: MemoryEntry, segment: Segment, config: SegmentRetrievalConfig) -> bool:
    is_same_shot = entry.segment.shot == segment.shot or not config.shot_aware
    return entry.segment.idx == segment.idx - 1 and is_same_shot


def _similarities(
    entries: Sequence[MemoryEntry], descriptor: torch.Tensor, descriptor_name: str
) -> list[float]:
    """Cosine of every entry's source descriptor with this one."""
    query = descriptor.detach().double().cpu().flatten()
    scores = []
    for entry in entries:
        held = entry.source_descriptor
        if (
            held is None
            or entry.descriptor_name != descriptor_name
            or held.numel() != query.numel()
        ):
            name = (
                "none" if held is None else f"{held.numel()} numbers of {entry.descriptor_name!r}"
            )
            raise ValueError(
                f"source descriptor of segment {entry.segment.idx + 1} got {name}, wanted "
                f"{query.numel()} numbers of {descriptor_name!r}; use one descriptor for the whole "
                "video, or start a new session"
            )
        scores.append(
            float(
                torch.nn.functional.cosine_similarity(query, held.double().cpu().flatten(), dim=0)
            )
        )
    return scores
