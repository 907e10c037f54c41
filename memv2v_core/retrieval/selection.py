"""From scores to the ranked choice of entries. Rank 0 is best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

from ..cache.entry import MemoryEntry
from ..cache.memory_cache import MemoryCache
from ..cameras.trajectory import CameraTrajectory
from .video_fov import VideoFovConfig, video_fov_scores

Part = TypeVar("Part")


# Slots: a bank of ten thousand entries makes as many of these.
@dataclass(frozen=True, eq=False, slots=True)
class RankedEntry:
    """An entry and the reason for its rank.

    overlap, contain: only where VideoFOV made the score.
    is_previous: the entry is the segment just before the query's segment. It ranks first, and gets
    the finest tokens and a separate temporal range (App. D.2).
    """

    entry: MemoryEntry
    score: float
    overlap: float | None = None
    contain: float | None = None
    is_previous: bool = False


Choice = Callable[[Sequence[RankedEntry]], tuple[tuple[RankedEntry, ...], tuple[RankedEntry, ...]]]


@dataclass(frozen=True, eq=False)
class Retrieval:
    """The entries chosen for a query, and the entries that were not chosen, each best first.

    query: the camera path that they were chosen for; None where no camera chose them.
    unreadable: a line for every entry that was left out because its file cannot be read any more.
    """

    query: CameraTrajectory | None
    ranked: tuple[RankedEntry, ...]
    rejected: tuple[RankedEntry, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[MemoryEntry, ...]:
        """The chosen entries alone, best first."""
        return tuple(ranked.entry for ranked in self.ranked)

    def describe(self) -> str:
        """One line per memory, best first."""
        lines = []
        for rank, found in enumerate((*self.ranked, *self.rejected)):
            line = (
                f"{self.verdict(rank)}: turn {found.entry.turn}  {found.entry.entry_id[:8]}  score "
                f"{found.score:.3f}"
            )
            if found.overlap is not None:
                line += f"  overlap {found.overlap:.3f}  containment {found.contain:.3f}"
            lines.append(line)
        lines += self.unreadable
        return "\n".join(lines) or "the cache is empty: this turn has no memory"

    def verdict(self, rank: int) -> str:
        """The result for the candidate at this place of ranked + rejected, in words."""
        return f"rank {rank + 1}" if rank < len(self.ranked) else "not chosen"


def retrieve_by_fov(
    cache: MemoryCache, query: CameraTrajectory, k: int, config: VideoFovConfig | None = None
) -> Retrieval:
    """The `k` entries that saw most of the query's view.

    An empty cache gives an empty retrieval. Only an entry's true frames count, not its padding. See
    `choose` for ties and pins.

    Raises: ValueError when k is negative or the query sees nothing.
    """
    entries, paths, unreadable = readable_parts(cache.entries, lambda entry: entry.true_camera)
    scores = video_fov_scores(query, paths, config) if paths else ()
    candidates = [
        RankedEntry(entry, fov.score, fov.overlap, fov.contain)
        for entry, fov in zip(entries, scores, strict=True)
    ]
    ranked, rejected, broken = of_sound_entries(candidates, lambda sound: choose(sound, k))
    return Retrieval(query, ranked, rejected, (*unreadable, *broken))


def retrieve_recent(cache: MemoryCache, k: int) -> Retrieval:
    """The `k` newest entries, newest first, for bases without cameras.

    Scores fall from 1 with age.

    Raises: ValueError when k is negative.
    """
    count = len(cache)
    candidates = [RankedEntry(entry, (i + 1) / count) for i, entry in enumerate(cache.entries)]
    return Retrieval(None, *of_sound_entries(candidates, lambda sound: choose(sound, k)))


def readable_parts(
    entries: Sequence[MemoryEntry], read: Callable[[MemoryEntry], Part]
) -> tuple[list[MemoryEntry], list[Part], tuple[str, ...]]:
    """The entries whose part can be read, that part of each, and a line for each of the others."""
    sound, parts, unreadable = [], [], []
    for entry in entries:
        try:
            part = read(entry)
        except ValueError as error:
            unreadable.append(_left_out(entry, str(error)))
            continue
        sound.append(entry)
        parts.append(part)
    return sound, parts, tuple(unreadable)


def of_sound_entries(
    candidates: Sequence[RankedEntry], choice: Choice
) -> tuple[tuple[RankedEntry, ...], tuple[RankedEntry, ...], tuple[str, ...]]:
    """`choice(candidates)` of those whose tensors can be read, and a line for each of the others.

    Only the tensors of chosen entries are read: a broken file makes room for the next best entry.
    """
    unreadable: dict[str, str] = {}
    while True:
        sound = candidates
        # Ids of entries in memory are hashes of their latents, so they are not made for nothing.
        if unreadable:
            sound = [found for found in candidates if found.entry.entry_id not in unreadable]
        ranked, rejected = choice(sound)
        problems = {found.entry.entry_id: found.entry.problem() for found in ranked}
        broken = {entry_id: problem for entry_id, problem in problems.items() if problem}
        if not broken:
            return ranked, rejected, tuple(unreadable.values())
        unreadable |= {
            found.entry.entry_id: _left_out(found.entry, broken[found.entry.entry_id])
            for found in ranked
            if found.entry.entry_id in broken
        }


def choose(
    candidates: Sequence[RankedEntry], k: int
) -> tuple[tuple[RankedEntry, ...], tuple[RankedEntry, ...]]:
    """Candidates (oldest first) split into the chosen `k` and the rest, each best first.

    Of equal scores the newer ranks first. See `take` for pins.

    Raises: ValueError when k is negative.
    """
    # A stable sort: of equal scores the one that comes first here, the newer one, stays first.
    return take(sorted(reversed(candidates), key=attrgetter("score"), reverse=True), k)


def take(
    order: Sequence[RankedEntry], k: int
) -> tuple[tuple[RankedEntry, ...], tuple[RankedEntry, ...]]:
    """Candidates (best first) split into the chosen `k` and the rest.

    Pinned entries are always chosen. They take places of the `k`, or more than `k` places if there
    are more of them. A pin changes which entries are chosen, not the order.

    Raises: ValueError when k is negative.
    """
    if k < 0:
        raise ValueError(f"k got {k}, wanted 0 or more; k is the number of memories to retrieve")
    pinned = [idx for idx, candidate in enumerate(order) if candidate.entry.is_pinned]
    others = [idx for idx, candidate in enumerate(order) if not candidate.entry.is_pinned]
    # The best of the others fill the places that pins leave.
    chosen = {*pinned, *others[: max(k - len(pinned), 0)]}
    ranked = tuple(order[idx] for idx in sorted(chosen))
    rejected = tuple(candidate for idx, candidate in enumerate(order) if idx not in chosen)
    return ranked, rejected


def _left_out(entry: MemoryEntry, reason: str) -> str:
    return f"left out: turn {entry.turn}  {entry.entry_id[:8]}  {reason}"
