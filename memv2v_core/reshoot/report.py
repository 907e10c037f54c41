"""The result of a re-shoot, in words."""

from collections.abc import Sequence

from ..cache.memory_cache import MemoryCache
from ..cameras.trajectory import static_trajectory
from ..resuming.outcomes import outcome_counts, outcome_text
from ..retrieval.video_fov import radius_remark
from .entries import is_reshot, left_over
from .host import ReshotTurn
from .settings import Reshoot


def describe_reshoot(turns: Sequence[ReshotTurn]) -> str:
    """How many turns are new, kept and stale, then one line per turn: its path, what it saw."""
    lines = []
    for turn in turns:
        outcome = outcome_text(turn.outcome, turn.seconds, turn.stale_for)
        place = f"turn {turn.number}: {turn.name}, {turn.entry.entry_id[:8]}"
        plain = "; also made without memory" if turn.entry.has_without_memory else ""
        lines.append(f"{place}: {outcome}; memories: {turn.memories or 'none'}{plain}")
    counts = outcome_counts(turn.outcome for turn in turns)
    seconds = sum(turn.seconds for turn in turns)
    return "\n".join((f"{len(turns)} turns: {counts}; {seconds:.1f} s", *lines))


def describe_moves(reshoot: Reshoot) -> tuple[str, ...]:
    """Lines about paths that go farther than the model's training, and about the radius."""
    lines, reach = [], reshoot.base.reach
    # An unknown source camera counts as static, as in a turn.
    source_path = reshoot.source_path or static_trajectory(1)
    for number, move in enumerate(reshoot.moves, 1):
        if reach is not None and (remark := reach.remark(move.path, source_path)):
            lines.append(f"path {number}, {move.name}: {remark}")
    paths = [move.path for move in reshoot.moves]
    if reshoot.memory.k > 0 and (remark := radius_remark(paths, reshoot.memory.radius)):
        lines.append(remark)
    return tuple(lines)


def describe_others(turns: Sequence[ReshotTurn], cache: MemoryCache) -> tuple[str, ...]:
    """Lines about what else the session holds; empty where it holds nothing else."""
    lines = []
    old = left_over(cache, len(turns))
    if old:
        numbers = ", ".join(str(entry.turn) for entry in old)
        lines.append(
            f"the session keeps turn {numbers} of paths that are no longer in the list; it is used "
            "again where the same path comes back at its place, and Memory Cache can forget it"
        )
    count = sum(not is_reshot(entry) for entry in cache.entries)
    if count:
        lines.append(
            f"the session also holds {count} turns of other nodes; pinned ones are offered as "
            "memories, the others are left alone"
        )
    return tuple(lines)
