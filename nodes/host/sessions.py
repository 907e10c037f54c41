"""Named sessions: caches on disk, in ComfyUI's output folder."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import folder_paths

from ...memv2v_core.cache.entry import MemoryEntry
from ...memv2v_core.cache.manifest import read_manifest
from ...memv2v_core.cache.memory_cache import MemoryCache
from ...memv2v_core.cache.storage import load_session, save_session, session_folder
from ...memv2v_core.sampling.turn import Turn

NO_SESSION = (
    "session is empty, wanted a name; finished segments are saved under it, so that nothing is lost"
)


def sessions_root() -> Path:
    """The folder that holds every named session."""
    return Path(folder_paths.get_output_directory()) / "memory_v2v"


def refused_name(session: str | None) -> str | None:
    """Why this cannot be the name of a session; None where it can.

    None also where the name is not known yet.
    """
    try:
        if session:
            session_folder(Path(), session)
    except ValueError as error:
        return str(error)
    return None


def open_cache(session: str) -> tuple[MemoryCache, tuple[str, ...]]:
    """The cache of a named session, or an empty one, with notes on repaired and skipped files.

    Raises: ValueError for a name that cannot be a folder name.
    """
    if not session:
        return MemoryCache(), ()
    loaded = load_session(session_folder(sessions_root(), session))
    return loaded.cache, (*loaded.notices, *(f"skipped {reason}" for reason in loaded.skipped))


def renamed(cache: MemoryCache, session: str) -> MemoryCache:
    """`cache` under this session name; unchanged where the name is empty."""
    return replace(cache, session=session) if session and session != cache.session else cache


def saved(cache: MemoryCache) -> tuple[str, ...]:
    """Write the cache to disk where it has a session; returns what had to be repaired."""
    if cache.session is None:
        return ()
    return save_session(cache, session_folder(sessions_root(), cache.session))


def remember(cache: MemoryCache, entry: MemoryEntry) -> tuple[MemoryCache, tuple[str, ...]]:
    """`cache` with `entry`, and what had to be repaired.

    It is on disk at once where it has a session.
    """
    grown = cache.append(entry)
    return grown, saved(grown)


def require_room(cache: MemoryCache | None, turn: Turn) -> MemoryCache:
    """The cache to append to, checked before the sampler spends its time.

    Raises: ValueError when a base with cameras has no path (no retrieval could find the result),
    and for a cache of another model or latent size.
    """
    if turn.target_path is None and turn.base.has_cameras:
        raise ValueError(
            "target_camera is not connected, wanted the path of this turn; the cache finds results "
            "by their cameras"
        )
    cache = cache if cache is not None else MemoryCache()
    channels, _, height, width = turn.latent_shape
    cache.require_fit(turn.base.model_name, (channels, height, width))
    return cache


def was_forgotten(cache: MemoryCache, entry: str) -> bool:
    """Whether the cache's session had an entry with this id and forgot it."""
    # An entry that the cache still holds was not forgotten.
    if cache.session is None or any(held.entry_id.startswith(entry) for held in cache.entries):
        return False
    manifest, _ = read_manifest(session_folder(sessions_root(), cache.session))
    forgotten = () if manifest is None else manifest.forgotten
    return any(entry_id.startswith(entry) for entry_id, _ in forgotten)


def session_state(session: str) -> str:
    """Name, time and size of every file in a session's folder.

    The text changes when a turn, a pin or a file changes.
    """
    # Only names, times and sizes: reading every file would take long.
    folder = session_folder(sessions_root(), session)
    if not folder.is_dir():
        return "absent"
    states = []
    for path in sorted(folder.iterdir()):
        # Another writer may have removed its lock or temporary file meanwhile.
        with suppress(OSError):
            status = path.stat()
            states.append(f"{path.name}:{status.st_mtime_ns}:{status.st_size}")
    return " ".join(states)
