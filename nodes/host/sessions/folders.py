"""Named sessions: caches on disk, in ComfyUI's output folder."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import folder_paths

from ....memv2v_core.cache.entry_file import ENTRY_SUFFIX
from ....memv2v_core.cache.manifest_file import MANIFEST_NAME, read_manifest
from ....memv2v_core.cache.memory_cache import MemoryCache
from ....memv2v_core.cache.session_names import session_folder


def sessions_root() -> Path:
    """The folder that holds every named session."""
    return Path(folder_paths.get_output_directory()) / "memory_v2v"


def folder_of(session: str) -> Path:
    """The folder of a named session.

    Raises: ValueError for a name that cannot be a folder name.
    """
    return session_folder(sessions_root(), session)


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


def has_turns(session: str) -> bool:
    """Whether a session of this name holds turns already."""
    folder = folder_of(session)
    if not folder.is_dir():
        return False
    manifest = read_manifest(folder).manifest
    listed = () if manifest is None else manifest.records
    return bool(listed) or any(folder.glob(f"*{ENTRY_SUFFIX}"))


def was_forgotten(cache: MemoryCache, entry: str) -> bool:
    """Whether the cache's session had an entry with this id and forgot it."""
    # An entry that the cache still holds was not forgotten.
    if cache.session is None or any(held.entry_id.startswith(entry) for held in cache.entries):
        return False
    manifest = read_manifest(folder_of(cache.session)).manifest
    forgotten = () if manifest is None else manifest.forgotten
    return any(entry_id.startswith(entry) for entry_id, _ in forgotten)


def session_state(session: str) -> str:
    """Hash of name, time and size of every entry and of the list in a session's folder.

    It changes when a turn or a pin changes.
    """
    # Only names, times and sizes: reading every file would take long.
    folder = folder_of(session)
    if not folder.is_dir():
        return "absent"
    states = []
    with os.scandir(folder) as found:
        for item in found:
            # Locks and unfinished files say nothing about the turns.
            if item.name != MANIFEST_NAME and not item.name.endswith(ENTRY_SUFFIX):
                continue
            # Another writer may have removed it meanwhile.
            with suppress(OSError):
                status = item.stat()
                states.append(f"{item.name}:{status.st_mtime_ns}:{status.st_size}")
    return hashlib.sha256(" ".join(sorted(states)).encode()).hexdigest()
