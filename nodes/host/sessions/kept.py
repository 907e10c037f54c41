"""Turns that could not be saved, kept beside until their session takes them.

A turn took minutes. A full disk, a folder without rights or a session of another model must not
throw it away.
"""

import os
import tempfile
from pathlib import Path

import folder_paths

from ....memv2v_core.atomic_files import make_folder, remove_file
from ....memv2v_core.cache.boundary import attempt
from ....memv2v_core.cache.entry import MemoryEntry
from ....memv2v_core.cache.entry_file import ENTRY_SUFFIX, entry_path, read_entry, write_entry

_FOLDER = "memory_v2v_kept"


def keep(entry: MemoryEntry, session: str) -> Path | None:
    """The file that holds the entry now; None where no folder takes it."""
    for folder in _folders(session):
        try:
            make_folder(folder)
            write_entry(folder, entry)
        # The next folder may lie on another disk.
        except (OSError, ValueError):
            continue
        return entry_path(folder, entry.entry_id)
    return None


def kept_entries(session: str) -> list[MemoryEntry]:
    """The entries that were kept for a session, oldest first."""
    found = {}
    for folder in _folders(session):
        for path in folder.glob(f"*{ENTRY_SUFFIX}") if folder.is_dir() else ():
            entry, _ = attempt(read_entry, path)
            if entry is not None and entry.problem() is None:
                found[entry.entry_id] = entry
    return sorted(found.values(), key=lambda entry: entry.created_s)


def drop_kept(session: str, entry_ids: set[str]) -> None:
    """Delete the kept files of these entries: their session holds or forgot them."""
    for folder in _folders(session):
        for entry_id in entry_ids:
            remove_file(entry_path(folder, entry_id))


def _folders(session: str) -> tuple[Path, ...]:
    """Where a session's turns are kept, the best place first.

    ComfyUI's own temporary folder is no place for them: it is emptied at every start.
    """
    user = Path(folder_paths.get_user_directory()) / _FOLDER / session
    # Other users of this machine may write into the system's temporary folder.
    owner = os.getuid() if hasattr(os, "getuid") else 0
    shared = Path(tempfile.gettempdir()) / f"{_FOLDER}_{owner}"
    is_ours = not shared.exists() or (not shared.is_symlink() and _is_owned_by(shared, owner))
    return (user, shared / session) if is_ours else (user,)


def _is_owned_by(folder: Path, owner: int) -> bool:
    return not hasattr(os, "getuid") or folder.stat().st_uid == owner
