"""Opening and saving named sessions. A finished turn is never lost by a save that fails."""

import logging
import math
import time
from dataclasses import replace

import comfy.model_management
from comfy_api.latest import io

from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.entry_file import is_in
from ....memv2v_core.cache.memory_cache import DAY_S, Forgotten, MemoryCache
from ....memv2v_core.cache.storage import SavedSession, load_session, require_savable, save_session
from ....memv2v_core.sampling.entries import require_fit
from ....memv2v_core.sampling.turn import Turn
from ..shown import show_on_running_node
from .first_use import first_use_notes
from .folders import folder_of
from .kept import drop_kept, keep, kept_entries

_FLOAT_BYTES = 4


def open_cache(
    session: str, hidden: io.HiddenHolder | None, cache: MemoryCache | None = None
) -> tuple[MemoryCache, tuple[str, ...]]:
    """The cache of a named session, or an empty one, with notes.

    The notes say which files were repaired or skipped, and when a workflow uses a session for the
    first time. Turns that were kept beside the session are put back.

    hidden: see `first_use_notes`. cache: stands in for the session's own, which is not read then.

    Raises: ValueError for a name that cannot be a folder name.
    """
    if not session:
        return (MemoryCache() if cache is None else cache), ()
    first_use = first_use_notes(session, hidden)
    if cache is not None:
        return cache, first_use
    loaded = load_session(folder_of(session), on_wait=_wait)
    notes = (*first_use, *loaded.notices, *(f"skipped {reason}" for reason in loaded.skipped))
    grown, remarks = _with_kept(loaded.cache, session)
    return grown, (*notes, *remarks)


def renamed(cache: MemoryCache, session: str) -> MemoryCache:
    """`cache` under this session name; unchanged where the name is empty."""
    return replace(cache, session=session) if session and session != cache.session else cache


def without_expired(cache: MemoryCache, days: float) -> tuple[MemoryCache, tuple[str, ...]]:
    """A session without turns of more than `days` days, on disk too, and remarks about them."""
    now_s = time.time()
    ahead = [entry.turn for entry in cache.entries if entry.created_s > now_s + DAY_S]
    if ahead:
        return cache, (
            f"turn {ahead[0]} is newer than this machine's clock, so nothing expires; "
            "set the clock",
        )
    left = cache.expire(days, now_s)
    if left is cache:
        return cache, ()
    held = {entry.entry_id for entry in left.entries}
    written = saved(left)
    return written.cache, written.notices + tuple(
        f"turn {entry.turn} ({entry.entry_id[:8]}) was older than {days:g} days: deleted"
        for entry in cache.entries
        if entry.entry_id not in held
    )


def superseding(cache: MemoryCache, session: str | None) -> MemoryCache:
    """`cache` without the turns on disk that its own turns replace.

    session: where the cache came from. A cache that gets another session's name meets the turns
    that the same nodes made in an earlier run there.
    """
    makers = {entry.maker for entry in cache.entries if entry.maker}
    if cache.session is None or cache.session == session or not makers:
        return cache
    on_disk = load_session(folder_of(cache.session), on_wait=_wait).cache
    held = {entry.entry_id for entry in cache.entries}
    gone = tuple(
        Forgotten(old.entry_id, old.created_s)
        for old in on_disk.entries
        if old.maker in makers and old.entry_id not in held
    )
    return replace(cache, forgotten=(*cache.forgotten, *gone)) if gone else cache


def saved(cache: MemoryCache) -> SavedSession:
    """The cache after it was written to disk, where it has a session.

    Raises: ValueError, OSError and TimeoutError as `save_session` does.
    """
    if cache.session is None:
        return SavedSession(cache)
    written = save_session(cache, folder_of(cache.session), on_wait=_wait)
    # What the session holds, or somebody forgot, needs no copy any more.
    known = {entry.entry_id for entry in cache.entries}
    drop_kept(cache.session, known | {old.entry_id for old in cache.forgotten})
    return written


def saved_or_kept(cache: MemoryCache) -> SavedSession:
    """`saved`, or the cache as it is with a note that says why it was not saved.

    What is not on disk stays in the cache, which a later save writes, and is kept beside.
    """
    try:
        return saved(cache)
    except (OSError, ValueError) as error:
        notes = _kept_notes(cache, error)
    for note in notes:
        logging.warning("Memory-V2V: %s", note)
    return SavedSession(cache, notes, is_written=False)


def remember(cache: MemoryCache, entry: MemoryEntry) -> SavedSession:
    """`cache` with `entry` in place of what its maker made; on disk at once with a session.

    A save that fails is a note, see `saved_or_kept`.
    """
    return saved_or_kept(cache.replacing(entry))


def require_room(
    cache: MemoryCache | None, turn: Turn, also_without_memory: bool = False
) -> MemoryCache:
    """The cache to append to, checked before the sampler spends its time.

    also_without_memory: whether the turn is stored with the one without memory beside it.

    Raises: ValueError when a base with cameras has no path (no retrieval could find the result),
    for a cache or a session on disk of another model or latent size, and for a session that cannot
    be written.
    """
    if turn.target_path is None and turn.base.has_cameras:
        raise ValueError(
            "target_camera is not connected, wanted the path of this turn; the cache finds results "
            "by their cameras; connect a Camera Trajectory"
        )
    cache = cache if cache is not None else MemoryCache()
    require_fit(cache, turn)
    if cache.session is not None:
        channels, _, height, width = turn.latent_shape
        # The result, and its source beside it.
        num_latents = 3 if also_without_memory else 2
        num_bytes = num_latents * math.prod(turn.latent_shape) * _FLOAT_BYTES
        folder = folder_of(cache.session)
        require_savable(folder, turn.base.model_name, (channels, height, width), num_bytes)
    return cache


def _with_kept(cache: MemoryCache, session: str) -> tuple[MemoryCache, list[str]]:
    """The cache with the turns that were kept for its session, saved where possible."""
    notes, grown = [], cache
    known = {entry.entry_id: entry for entry in cache.entries}
    for entry in kept_entries(session):
        held = known.get(entry.entry_id)
        if held is not None and not (entry.has_without_memory and held.lacks_comparison):
            continue
        try:
            grown = grown.append(entry) if held is None else grown.with_content_of(entry)
            notes.append(f"turn {entry.turn} ({entry.entry_id[:8]}) was kept and is back")
        except ValueError as error:
            notes.append(f"turn {entry.turn} ({entry.entry_id[:8]}) is kept, not loaded: {error}")
    if grown is cache:
        return cache, notes
    written = saved_or_kept(grown)
    return written.cache, [*notes, *written.notices]


def _kept_notes(cache: MemoryCache, error: Exception) -> tuple[str, ...]:
    assert cache.session is not None, "a cache without a session is not written"
    folder = folder_of(cache.session)
    notes = [f"NOT SAVED: {error}"]
    for entry in cache.entries:
        if is_in(folder, entry):
            continue
        path = keep(entry, cache.session)
        name = f"turn {entry.turn} ({entry.entry_id[:8]})"
        place = "lives in this graph alone" if path is None else f"is kept in {path}"
        notes.append(f"{name} {place}; the next save of this session tries again")
    return tuple(notes)


def _wait(text: str) -> None:
    """Say on the running node what is waited for, and let the user stop the wait."""
    show_on_running_node(text)
    comfy.model_management.throw_exception_if_processing_interrupted()
