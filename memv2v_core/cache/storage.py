"""A cache on disk: one folder per session, one safetensors file per entry, one manifest.

Every file is written beside its place and then renamed, so that a crash at any moment leaves the
old or the new state. A broken or foreign file is named and skipped; all other files stay usable.
"""

import logging
import os
import shutil
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..atomic_files import (
    ASIDE_SUFFIX,
    TEMP_SUFFIX,
    is_temp,
    make_folder,
    remove_file,
    sync_folder,
    temp_beside,
)
from .boundary import is_full_disk, shown_name, why_unwritable
from .content import HeldContent
from .entry import MemoryEntry
from .entry_file import ENTRY_SUFFIX, has_hashes, is_in, read_entries, write_entry
from .folder_lock import LOCK_NAME, FolderLock, OnWait
from .manifest import (
    EMPTY,
    LatentShape,
    Manifest,
    covers,
    extended,
    forgets_a_record,
    merged,
    of_one_kind,
    repaired,
    require_kind,
    trimmed,
)
from .manifest_file import (
    MANIFEST_NAME,
    LastSaved,
    ReadManifest,
    last_saved,
    read_manifest,
    remember_saved,
    write_manifest,
)
from .memory_cache import MemoryCache

# A guard of the versions before this one; nothing reads it now.
_OLD_BREAKER_NAME = "session.lock.stale"
# Our files, then files that operating systems leave in folders.
_EXPECTED_NAMES = {MANIFEST_NAME, LOCK_NAME, "thumbs.db", "desktop.ini", ".ds_store"}
# Files from before this version that one save rewrites: all at once would take minutes.
_MAX_REHASHED = 4
# A reader waits for a writer no longer than this; then it reports what it sees.
_READER_WAIT_S = 10.0
MiB = 2**20
# Header, manifest and the folder itself.
_OVERHEAD_BYTES = 2 * MiB


@dataclass(frozen=True, eq=False)
class LoadedSession:
    """A session from disk. Its entries read their tensors when they are needed.

    skipped: each file that was left out, and why. notices: what was repaired.
    """

    cache: MemoryCache
    skipped: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SavedSession:
    """A cache after its save. Its entries read their tensors when they are needed.

    cache: without the entries that another writer forgot. notices: what was repaired or left out.
    is_written: False where the cache could not be saved, and the notices say why.
    """

    cache: MemoryCache
    notices: tuple[str, ...] = ()
    is_written: bool = True


@dataclass(frozen=True, eq=False)
class _Seen:
    """What lies in a folder.

    found: entries by id. broken: every entry file that cannot be read, and why. names: all names.
    """

    manifest: ReadManifest
    found: dict[str, MemoryEntry]
    broken: dict[str, str]
    names: frozenset[str]

    @cached_property
    def orphans(self) -> list[MemoryEntry]:
        """Whole entries that a writer finished but did not list in time, oldest first."""
        manifest = self.manifest.manifest
        if manifest is None:
            return []
        listed = {record.entry_id for record in manifest.records}
        forgotten = dict(manifest.forgotten)
        orphans = [
            entry
            for entry_id, entry in self.found.items()
            if entry_id not in listed and not covers(forgotten, entry_id, entry.created_s)
        ]
        return sorted(orphans, key=lambda entry: entry.created_s)

    @cached_property
    def missing(self) -> list[str]:
        """A line for every entry that is listed and has no file."""
        manifest = self.manifest.manifest
        return [
            f"{record.entry_id}{ENTRY_SUFFIX}: the file of turn {record.turn} is missing; restore "
            "it or make the turn again"
            for record in (() if manifest is None else manifest.records)
            if f"{record.entry_id}{ENTRY_SUFFIX}" not in self.names
        ]

    @property
    def is_torn(self) -> bool:
        """Whether a writer may have been at work: the files and the list do not agree."""
        is_writing = any(is_temp(name) for name in self.names)
        return bool(
            is_writing or self.manifest.problem or self.broken or self.missing or self.orphans
        )


def save_session(cache: MemoryCache, folder: Path, on_wait: OnWait | None = None) -> SavedSession:
    """Merge the cache into its session on disk.

    Entries that are already on disk are not written again, entries of other writers stay, and
    entries that any writer forgot are removed for good.

    on_wait: see `FolderLock`.

    Raises: ValueError for a session of another model or latent size. TimeoutError when another
    writer hangs. OSError naming the folder and the remedy when nothing can be written.
    """
    try:
        make_folder(folder)
        # Read, merge and write under one lock: another writer in between would be overwritten.
        with FolderLock(folder, on_wait=on_wait):
            return _saved(cache, folder)
    except TimeoutError:
        raise
    except OSError as error:
        # The kind of error stays; its text says what to do.
        raise type(error)(
            f"session {folder.name!r} was not saved: {why_unwritable(error, folder)}"
        ) from error


def load_session(folder: Path, on_wait: OnWait | None = None) -> LoadedSession:
    """The session in this folder; an absent folder is a session that starts empty.

    `notices` says so for an absent folder. Only names and headers are read.

    Raises: ValueError when a newer version of the pack wrote it. OSError naming a folder that
    cannot be read.
    """
    if not folder.is_dir():
        notice = f"session {folder.name!r} has nothing on disk yet and starts empty"
        return LoadedSession(MemoryCache(session=folder.name), notices=(notice,))
    try:
        seen = _seen(folder)
    except OSError as error:
        raise type(error)(
            f"session {folder.name!r} cannot be opened: {folder} ({error.strerror or error}); give "
            "yourself the right to read it, or restore it from a backup"
        ) from error
    if seen.is_torn:
        # A writer between its files looks like damage, so the look is repeated when none writes.
        try:
            with FolderLock(folder, _READER_WAIT_S, on_wait):
                seen = _seen(folder)
        except OSError:
            # A folder that takes no files has no writer.
            logging.info("Memory-V2V: session %s is read without a lock", folder)
    return _loaded(folder, seen)


def require_savable(
    folder: Path, model_name: str, latent_shape: LatentShape, num_bytes: int
) -> None:
    """Raise unless a turn can be saved into the session of this folder as things are now.

    latent_shape: (C, H, W). num_bytes: of the turn's tensors.

    Raises: ValueError for a session of another model or latent size, for a folder that cannot be
    written, and for a disk without space. The text says what to do.
    """
    if folder.is_dir():
        disk = read_manifest(folder).manifest or EMPTY
        require_kind(disk, model_name, latent_shape, folder.name)
    # The session's folder is made by the save, so the nearest folder above it is tried.
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        probe = temp_beside(existing / "probe")
        probe.touch(exist_ok=False)
        remove_file(probe)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise ValueError(
            f"session {folder.name!r} cannot be saved: {why_unwritable(error, existing)}; or leave "
            "the session's name empty"
        ) from error
    needed = num_bytes + _OVERHEAD_BYTES
    if free < needed:
        raise ValueError(
            f"session {folder.name!r} got {free / MiB:.1f} MiB of free space on the disk of "
            f"{existing}, wanted {needed / MiB:.1f} MiB for this turn; free some space, forget old "
            "turns, or leave the session's name empty"
        )


def _loaded(folder: Path, seen: _Seen) -> LoadedSession:
    skipped = [f"{shown_name(name)}: {reason}" for name, reason in seen.broken.items()]
    skipped += [*_strangers(seen.names), *seen.missing]
    notices = []
    # Step 1: without an intact manifest, the entry files say what is there.
    manifest, orphans = seen.manifest.manifest, seen.orphans
    if seen.manifest.problem:
        manifest, orphans = repaired(manifest, seen.found.values()), []
        notices.append(
            f"{seen.manifest.problem}; order and pins of {len(seen.found)} entries were rebuilt "
            "from their own files"
        )
    assert manifest is not None, "a manifest without a problem was read"
    notices += [
        f"turn {orphan.turn} ({orphan.entry_id[:8]}) was not in {MANIFEST_NAME}; added"
        for orphan in orphans
    ]
    # Step 2: the entries in the order of the manifest, orphans last.
    listed = [
        _pinned_as(seen.found[record.entry_id], record.is_pinned)
        for record in manifest.records
        if record.entry_id in seen.found
    ]
    # Step 3: one model and one latent size.
    entries = [*listed, *orphans]
    cache, refused = of_one_kind(entries, manifest, folder.name)
    if not orphans and all(map(has_hashes, cache.entries)) and not forgets_a_record(manifest):
        ids = {record.entry_id for record in manifest.records}
        remember_saved(folder, manifest, LastSaved(cache.entries, ids))
    return LoadedSession(cache, (*skipped, *refused), tuple(notices))


def _pinned_as(entry: MemoryEntry, is_pinned: bool) -> MemoryEntry:
    return entry if entry.is_pinned == is_pinned else replace(entry, is_pinned=is_pinned)


def _saved(cache: MemoryCache, folder: Path) -> SavedSession:
    """`save_session` for the holder of the lock."""
    names = _names(folder)
    disk, notices = _manifest_to_merge(folder, names)
    # Step 1: a broken manifest lost its pins, so the pins of this cache are the best ones left.
    if notices:
        pins = frozenset(entry.entry_id for entry in cache.entries)
        cache = replace(cache, changed_pins=cache.changed_pins | pins)
    # Step 2: what is new. A session of a thousand turns that got one more looks at that one.
    known = last_saved(folder, disk, cache)
    if known is None:
        known, new, manifest = LastSaved((), set()), cache.entries, merged(disk, cache, folder.name)
        added = {record.entry_id for record in manifest.records}
    else:
        new = cache.entries[len(known.entries) :]
        manifest = extended(disk, known.ids, cache, new, folder.name)
        added = {record.entry_id for record in manifest.records[len(disk.records) :]}
    # Step 3: the entry files, before the manifest names them. A crash in between leaves whole
    # orphans, which load_session finds.
    live = added.union(entry.entry_id for entry in new if entry.entry_id in known.ids)
    written, unreadable, problems = _written(folder, new, live)
    notices += problems
    # Step 4: the manifest, then the files that it no longer names.
    manifest = trimmed(manifest, names)
    if unreadable:
        found = tuple(old for old in manifest.records if old.entry_id not in unreadable)
        manifest = replace(manifest, records=found)
    _write_manifest_and_remove(folder, manifest, names)
    # Only what is on disk now counts as saved.
    known.ids.update(added - unreadable)
    entries = (*known.entries, *written)
    if all(map(has_hashes, written)):
        remember_saved(folder, manifest, LastSaved(entries, known.ids))
    saved = replace(cache, entries=entries, forgotten=(), changed_pins=frozenset())
    if not entries:
        saved = replace(saved, model_name=None)
    return SavedSession(saved, tuple(notices))


def _written(
    folder: Path, new: Sequence[MemoryEntry], live: Set[str]
) -> tuple[tuple[MemoryEntry, ...], set[str], list[str]]:
    """The entries as they are in their files, ids that cannot be read, and notices.

    live: ids that the manifest will list; the others were forgotten by another writer.
    """
    entries, unreadable, notices, num_rehashed = [], set[str](), list[str](), 0
    for entry in new:
        if entry.entry_id not in live:
            notices.append(
                f"turn {entry.turn} ({entry.entry_id[:8]}) was forgotten in session "
                f"{folder.name!r} and is not saved; make it again to have it back"
            )
            continue
        if not is_in(folder, entry):
            try:
                entry = write_entry(folder, entry)
            except ValueError as error:
                if isinstance(entry.content, HeldContent):
                    raise
                # An entry of another session whose file is gone must not stop the others.
                unreadable.add(entry.entry_id)
                notices.append(f"turn {entry.turn} ({entry.entry_id[:8]}) is not saved: {error}")
                continue
        elif not has_hashes(entry) and num_rehashed < _MAX_REHASHED and entry.problem() is None:
            entry, num_rehashed = write_entry(folder, entry), num_rehashed + 1
        entries.append(entry)
    return tuple(entries), unreadable, notices


def _write_manifest_and_remove(folder: Path, manifest: Manifest, names: frozenset[str]) -> None:
    try:
        write_manifest(folder, manifest)
    except OSError as error:
        if not is_full_disk(error):
            raise
        # The forgotten files make room for the list without them.
        _remove_dead_files(folder, manifest, names)
        write_manifest(folder, manifest)
    _remove_dead_files(folder, manifest, names)


def _manifest_to_merge(folder: Path, names: frozenset[str]) -> tuple[Manifest, list[str]]:
    """The manifest on disk, and a notice when it had to be repaired from the entry files."""
    read = read_manifest(folder)
    if not read.problem and read.manifest is not None:
        return read.manifest, []
    found, _ = read_entries(folder, names)
    # A new session: nothing to repair, so no notice.
    if not found and MANIFEST_NAME not in names:
        return EMPTY, []
    manifest = repaired(read.manifest, found.values())
    return manifest, [f"{read.problem}; rebuilt from {len(found)} entry files"]


def _seen(folder: Path) -> _Seen:
    # The list is read before the names: an entry is on disk before the list names it.
    manifest = read_manifest(folder)
    names = _names(folder)
    found, broken = read_entries(folder, names)
    return _Seen(manifest, found, broken, names)


def _names(folder: Path) -> frozenset[str]:
    # Text and no Path for each name: a save lists the files of a thousand turns.
    return frozenset(os.listdir(folder))  # noqa: PTH208 - see above


def _strangers(names: frozenset[str]) -> list[str]:
    reasons = []
    for name in sorted(name for name in names if not name.endswith(ENTRY_SUFFIX)):
        shown = shown_name(name)
        if is_temp(name) or name == _OLD_BREAKER_NAME:
            reasons.append(f"{shown}: an unfinished write; the next save removes it")
        elif name.endswith(ASIDE_SUFFIX):
            reasons.append(f"{shown}: stood where a file of the session belongs; delete it")
        elif name.lower() not in _EXPECTED_NAMES:
            reasons.append(f"{shown}: not a file of a session; move it elsewhere")
    return reasons


def _remove_dead_files(folder: Path, manifest: Manifest, names: frozenset[str]) -> None:
    """Delete forgotten entries and the files of killed writers. Only the lock holder may call this.

    A file that another program has open stays until a later save; the manifest remembers that it
    was forgotten.
    """
    dead = {name for name in names if name.endswith(TEMP_SUFFIX) and is_temp(name)}
    dead |= names & {_OLD_BREAKER_NAME}
    if manifest.forgotten:
        live = {record.entry_id for record in manifest.records}
        forgotten = (entry_id for entry_id, _ in manifest.forgotten if entry_id not in live)
        dead |= names & {f"{entry_id}{ENTRY_SUFFIX}" for entry_id in forgotten}
    for name in dead:
        remove_file(folder / name)
    if dead:
        sync_folder(folder)
