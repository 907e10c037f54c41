"""A cache on disk: one folder per session, one safetensors file per entry, one manifest.

Every file is written beside its place and then renamed, so that a crash at any moment leaves the
old or the new state. A broken or foreign file is named and skipped; all other files stay usable.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic_files import is_temp, remove_file
from .entry import MemoryEntry
from .entry_file import ENTRY_SUFFIX, entry_path, read_entry, write_entry
from .folder_lock import BREAKER_NAME, LOCK_NAME, FolderLock
from .manifest import EMPTY, MANIFEST_NAME, Manifest, merged, read_manifest, rebuilt, write_manifest
from .memory_cache import MemoryCache

_SESSION_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# Names that are no files on Windows.
_WINDOWS_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)),
}
# Our files, then files that operating systems leave in folders.
_EXPECTED_NAMES = {
    MANIFEST_NAME,
    LOCK_NAME,
    BREAKER_NAME,
    "thumbs.db",
    "desktop.ini",
    ".ds_store",
}


@dataclass(frozen=True, eq=False)
class LoadedSession:
    """A session from disk.

    skipped: each file that was left out, and why. notices: what was repaired.
    """

    cache: MemoryCache
    skipped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def session_folder(root: Path, name: str) -> Path:
    """The folder of a session under `root`.

    Raises: ValueError for a name that is not a plain folder name on every system.
    """
    # Windows opens a device under these names, whatever follows the dot.
    is_device = name.split(".")[0].lower() in _WINDOWS_DEVICES
    if not _SESSION_NAME.fullmatch(name) or name.endswith(".") or is_device:
        raise ValueError(
            f"session name got {name!r}, wanted 1 to 64 of the letters A-Z a-z, digits, '-', '_' "
            "and '.', with no '.' at either end, and no Windows device such as 'con'; choose a "
            "name like 'kitchen_01'"
        )
    return root / name


def list_sessions(root: Path) -> tuple[str, ...]:
    """Names of the sessions under `root`, sorted.

    A session is a folder with a manifest or an entry.
    """
    if not root.is_dir():
        return ()
    folders = [
        folder
        for folder in root.iterdir()
        if folder.is_dir() and _SESSION_NAME.fullmatch(folder.name)
    ]
    return tuple(
        sorted(
            path.name for path in folders if (path / MANIFEST_NAME).exists() or _entry_files(path)
        )
    )


def save_session(cache: MemoryCache, folder: Path) -> tuple[str, ...]:
    """Merge the cache into its session on disk; returns what was repaired or left out.

    The answer is normally empty. Entries that are already on disk are not written again, entries of
    other writers stay, and entries that any writer forgot are removed.

    Raises: ValueError for a session of another model or latent size. TimeoutError when another
    writer hangs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Read, merge and write under one lock: another writer in between would be overwritten.
    with FolderLock(folder) as lock:
        disk, notices = _manifest_to_merge(folder)
        # Step 1: a broken manifest lost its pins, so the pins of this cache are the best ones left.
        if notices:
            cache = replace(
                cache, changed_pins=frozenset(entry.entry_id for entry in cache.entries)
            )
        # Step 2: the entry files, before the manifest names them. A crash in between leaves whole
        # orphans, which load_session finds.
        manifest = merged(disk, cache, folder.name)
        live = {record.entry_id for record in manifest.records}
        for entry in cache.entries:
            if entry.entry_id in live:
                write_entry(folder, entry)
                # Large entries on a slow disk take longer than the lock lives.
                lock.refresh()
            else:
                notices.append(
                    f"turn {entry.turn} ({entry.entry_id[:8]}) was forgotten in session "
                    f"{folder.name!r} and is not saved; make it again to have it back"
                )
        # Step 3: the manifest, then the files that it no longer names.
        write_manifest(folder, manifest)
        _remove_dead_files(folder, manifest)
    return tuple(notices)


def load_session(folder: Path) -> LoadedSession:
    """The session in this folder; an absent folder is a session that starts empty.

    `notices` says so for an absent folder.

    Raises: ValueError when a newer version of the pack wrote it.
    """
    if not folder.is_dir():
        notice = f"session {folder.name!r} has nothing on disk yet and starts empty"
        return LoadedSession(MemoryCache(session=folder.name), notices=(notice,))
    # Step 1: read every file. A broken entry is skipped, and the rest stays usable.
    manifest, problem = read_manifest(folder)
    found, skipped = _read_entries(folder)
    skipped += _strangers(folder)
    notices = []
    # Step 2: without a manifest, the entry files say the order and the pins.
    if manifest is None:
        manifest = rebuilt(found.values())
        notices.append(
            f"{problem}; order and pins of {len(found)} entries were rebuilt from their own files"
        )
    # Step 3: compare list and files, in both directions.
    skipped += [
        f"{record.entry_id}{ENTRY_SUFFIX}: the file of turn {record.turn} is missing; restore it "
        "or make the turn again"
        for record in manifest.records
        if not entry_path(folder, record.entry_id).exists()
    ]
    orphans = _orphans(manifest, found)
    notices += [
        f"turn {orphan.turn} ({orphan.entry_id[:8]}) was not in {MANIFEST_NAME}; added"
        for orphan in orphans
    ]
    # Step 4: build the cache in the order of the manifest, orphans last.
    pins = {record.entry_id: record.is_pinned for record in manifest.records}
    listed = [
        replace(found[entry_id], is_pinned=pin)
        for entry_id, pin in pins.items()
        if entry_id in found
    ]
    cache, refused = _appended(MemoryCache(session=folder.name), [*listed, *orphans])
    return LoadedSession(cache, (*skipped, *refused), tuple(notices))


def _manifest_to_merge(folder: Path) -> tuple[Manifest, list[str]]:
    """The manifest on disk, and a notice when it had to be rebuilt.

    It is rebuilt from the entry files when it cannot be read.
    """
    manifest, problem = read_manifest(folder)
    if manifest is not None:
        return manifest, []
    found, _ = _read_entries(folder)
    # A new session: nothing to repair, so no notice.
    if not found and not (folder / MANIFEST_NAME).exists():
        return EMPTY, []
    return rebuilt(found.values()), [f"{problem}; rebuilt from {len(found)} entry files"]


def _read_entries(folder: Path) -> tuple[dict[str, MemoryEntry], list[str]]:
    found, skipped = {}, []
    for path in _entry_files(folder):
        try:
            found[path.stem] = read_entry(path)
        except (ValueError, OSError) as error:
            skipped.append(f"{path.name}: {error}")
    return found, skipped


def _orphans(manifest: Manifest, found: dict[str, MemoryEntry]) -> list[MemoryEntry]:
    """Whole entries that a writer finished but did not list in time, oldest first."""
    listed = {record.entry_id for record in manifest.records}
    orphans = [
        entry
        for entry_id, entry in found.items()
        if entry_id not in listed and not manifest.covers(entry_id, entry.created_s)
    ]
    return sorted(orphans, key=lambda entry: entry.created_s)


def _appended(cache: MemoryCache, entries: list[MemoryEntry]) -> tuple[MemoryCache, list[str]]:
    refused = []
    for entry in entries:
        # The cache refuses entries of another model or size, for example copied files.
        try:
            cache = cache.append(entry)
        except ValueError as error:
            refused.append(f"{entry.entry_id}{ENTRY_SUFFIX}: {error}")
    return cache, refused


def _strangers(folder: Path) -> list[str]:
    reasons = []
    for path in sorted(folder.iterdir()):
        if is_temp(path.name):
            reasons.append(f"{path.name}: an unfinished write; the next save removes it")
        elif path.name.lower() not in _EXPECTED_NAMES and path.suffix != ENTRY_SUFFIX:
            reasons.append(f"{path.name}: not a file of a session; move it elsewhere")
    return reasons


def _remove_dead_files(folder: Path, manifest: Manifest) -> None:
    """Delete forgotten entries and the files of killed writers. Only the lock holder may call this.

    A file that another program has open stays until a later save; the manifest remembers that it
    was forgotten.
    """
    live = {record.entry_id for record in manifest.records}
    for entry_id, _ in manifest.forgotten:
        if entry_id not in live:
            remove_file(entry_path(folder, entry_id))
    for path in folder.iterdir():
        if is_temp(path.name):
            remove_file(path)


def _entry_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ENTRY_SUFFIX)
