"""The result of an edit, in words."""

from collections.abc import Sequence

from ..cache.memory_cache import MemoryCache
from ..resuming.outcomes import outcome_counts, outcome_text
from .loop import EditedSegment


def describe_edit(edited: Sequence[EditedSegment]) -> str:
    """How many segments are new, kept and stale, then one line per segment: what it saw."""
    lines = []
    for part in edited:
        assert part.entry.segment is not None, "every entry of an edit is a segment's"
        place, entry_id = part.entry.segment.describe(), part.entry.entry_id[:8]
        memories = part.memories or "none"
        outcome = outcome_text(part.outcome, part.seconds, part.stale_for)
        lines.append(f"{place}, {entry_id}: {outcome}; memories: {memories}")
    counts = outcome_counts(part.outcome for part in edited)
    seconds = sum(part.seconds for part in edited)
    return "\n".join((f"{len(edited)} segments: {counts}; {seconds:.1f} s", *lines))


def describe_leftovers(edited: Sequence[EditedSegment], cache: MemoryCache) -> tuple[str, ...]:
    """A line about other entries in the session; empty when there are none."""
    # A session may hold entries of another split, which a later run can use again.
    count = len(cache.entries) - len(edited)
    if count == 0:
        return ()
    return (
        f"the session also holds {count} entries of another split or mode, which are used again if "
        "you go back to it; Memory Cache can forget them",
    )
