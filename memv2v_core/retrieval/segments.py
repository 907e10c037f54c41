"""Which earlier segments of a long video the next one sees.

These are the segments whose sources are most alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
import torch

from ..cache.entry import MemoryEntry, Segment
from ..cache.memory_cache import MemoryCache, preferred
from .descriptors import default_min_similarity
from .selection import RankedEntry, Retrieval, of_sound_entries, readable_parts, take
from .sphere_grid import Floats

# Numbers of descriptors that lie in memory at once. torch divides larger tensors among threads,
# and that takes longer than the work where other programs use the cores.
_NUMBERS_AT_ONCE = 2**15
# As torch.nn.functional.cosine_similarity.
_LEAST_LENGTH = 1e-8


@dataclass(frozen=True, eq=False)
class SegmentQuery:
    """The segment to edit next, and a descriptor of its source where one is needed.

    descriptor: (D,) of the source's true frames. descriptor_name: the extractor that made it.
    """

    segment: Segment
    descriptor: torch.Tensor | None = None
    descriptor_name: str = ""


@dataclass(frozen=True)
class SegmentRetrievalConfig:
    """How earlier segments are ranked.

    enforce_recent_first: the segment just before comes first, whatever its similarity.
    shot_aware: segments of another shot count only from `min_similarity` on, and the segment before
    a cut is not the previous segment. False ranks as the paper does.
    min_similarity: cosine of two source descriptors, -1 to 1; None takes the descriptor's default.
    has_previous_range: whether the base has a temporal range for the segment before. A base whose
    source takes tokens of the sequence has none: there the segment before is a memory like the
    others.
    """

    enforce_recent_first: bool = True
    shot_aware: bool = True
    min_similarity: float | None = None
    has_previous_range: bool = True


def retrieve_by_similarity(
    cache: MemoryCache,
    descriptor: torch.Tensor,
    descriptor_name: str,
    segment: Segment,
    k: int,
    config: SegmentRetrievalConfig | None = None,
) -> Retrieval:
    """The `k` earlier segments whose sources are most like the source of `segment`.

    descriptor: (D,) of that source. Only entries with a smaller `segment.idx` count. Of several
    entries for one segment the pinned one counts, else the newest. See `take` for pins. A pinned
    entry of another shot is chosen at any similarity.

    Departs from the paper: with `shot_aware` a new shot that resembles no earlier segment gets no
    memory. The paper's ranking would give it the shot before, which leaks into the new shot (App.
    G).

    Raises: ValueError when k is negative, or when an entry has no descriptor or a descriptor of
    another extractor.
    Source: Alg. 2, arXiv:2601.16296v2.
    """
    config = config or SegmentRetrievalConfig()
    # The right threshold depends on the descriptor.
    threshold = config.min_similarity
    if threshold is None:
        threshold = default_min_similarity(descriptor_name)

    # Step 1: rank by similarity, the later segment first where two are equally alike.
    entries, held, unreadable = readable_parts(
        _earlier(cache, segment), lambda entry: entry.source_descriptor
    )
    scores = _similarities(entries, held, descriptor, descriptor_name)
    candidates = [RankedEntry(*scored) for scored in zip(entries, scores, strict=True)]
    # In the order of the video only the last one can be the segment just before.
    if candidates and _is_previous(candidates[-1].entry, segment, config):
        candidates[-1] = replace(candidates[-1], is_previous=True)
    # Stable sorts: equals keep their order, which is that of the video from its end.
    order = sorted(reversed(candidates), key=attrgetter("score"), reverse=True)
    if config.enforce_recent_first:
        order.sort(key=attrgetter("is_previous"), reverse=True)

    # Step 2: another shot counts only where it looks alike, or where the user pinned it.
    def does_count(found: RankedEntry) -> bool:
        is_alike = found.score >= threshold or not config.shot_aware
        return is_alike or _place(found.entry).shot == segment.shot or found.entry.is_pinned

    counting, others = list[RankedEntry](), list[RankedEntry]()
    for found in order:
        (counting if does_count(found) else others).append(found)

    # Step 3: take k. Segments that do not count are listed last.
    ranked, rejected, broken = of_sound_entries(counting, lambda sound: take(sound, k))
    retrieval = Retrieval(None, ranked, (*rejected, *others), (*unreadable, *broken))
    return retrieval if config.has_previous_range else _without_previous(retrieval)


def describe_ranking(segment: Segment, retrieval: Retrieval) -> str:
    """The segment to edit, then one line per memory, best first."""
    lines = [segment.describe()]
    for rank, found in enumerate((*retrieval.ranked, *retrieval.rejected)):
        previous = ", the previous segment" if found.is_previous else ""
        lines.append(
            f"{retrieval.verdict(rank)}: segment {_place(found.entry).idx + 1}  "
            f"{found.entry.entry_id[:8]}  similarity {found.score:.3f}{previous}"
        )
    lines += retrieval.unreadable
    if len(lines) == 1:
        lines.append("no earlier segment: edited without memory")
    return "\n".join(lines)


def _without_previous(retrieval: Retrieval) -> Retrieval:
    # The ranking stays; only the special range is given up.
    ranked, rejected = (
        tuple(replace(found, is_previous=False) if found.is_previous else found for found in part)
        for part in (retrieval.ranked, retrieval.rejected)
    )
    return replace(retrieval, ranked=ranked, rejected=rejected)


def _place(entry: MemoryEntry) -> Segment:
    assert entry.segment is not None, "only entries of a long video are compared here"
    return entry.segment


def _earlier(cache: MemoryCache, segment: Segment) -> list[MemoryEntry]:
    """One entry for each segment before this one, in the order of the video."""
    chosen: dict[int, MemoryEntry] = {}
    for entry in cache.entries:
        place = entry.segment
        if place is not None and place.idx < segment.idx:
            held = chosen.get(place.idx)
            chosen[place.idx] = entry if held is None else preferred((held, entry)) or entry
    return [chosen[idx] for idx in sorted(chosen)]


def _is_previous(entry: MemoryEntry, segment: Segment, config: SegmentRetrievalConfig) -> bool:
    place = _place(entry)
    # The segment before a cut shows another scene.
    return place.idx == segment.idx - 1 and (place.shot == segment.shot or not config.shot_aware)


def _similarities(
    entries: Sequence[MemoryEntry],
    held_by_entry: Sequence[torch.Tensor | None],
    descriptor: torch.Tensor,
    descriptor_name: str,
) -> list[float]:
    """Cosine of every entry's source descriptor, which it holds, with `descriptor`."""
    query = descriptor.detach().double().cpu().flatten()
    for entry, held in zip(entries, held_by_entry, strict=True):
        # Vectors of two extractors have no common axes, so their cosine means nothing.
        if (
            held is None
            or entry.descriptor_name != descriptor_name
            or held.numel() != query.numel()
        ):
            name = (
                "none" if held is None else f"{held.numel()} numbers of {entry.descriptor_name!r}"
            )
            raise ValueError(
                f"source descriptor of segment {_place(entry).idx + 1} got {name}, wanted "
                f"{query.numel()} numbers of {descriptor_name!r}; use one descriptor for the whole "
                "video, or start a new session"
            )
    found = [held.cpu().flatten() for held in held_by_entry if held is not None]
    scores = list[float]()
    at_once = max(1, _NUMBERS_AT_ONCE // max(1, query.numel()))
    for start in range(0, len(found), at_once):
        vectors = torch.stack(found[start : start + at_once]).detach().double()
        scores += _cosines(vectors.numpy(), query.numpy()).tolist()
    return scores


def _cosines(vectors: Floats, query: Floats) -> Floats:
    """Cosines (N,) of vectors (N, D) with `query` (D,); 0 for a vector of zeros.

    `einsum` adds up every row in the same order. A matrix product rounds some rows otherwise than
    others: equal vectors would get unequal cosines, and rounding would choose between them in place
    of the order of the video.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    query_length = math.sqrt(np.einsum("d,d->", query, query))
    products = np.maximum(lengths, _LEAST_LENGTH) * max(query_length, _LEAST_LENGTH)
    return np.einsum("nd,d->n", vectors, query) / products
