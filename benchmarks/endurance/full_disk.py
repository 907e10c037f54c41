"""A disk that is full, read-only or gone while a session is saved."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.attack.targets.sessions import entry_digest, make_entry
from benchmarks.attack.watch import obey_permissions
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

from .tables import report

# An entry of this many rows has 0.26 MB, so that a disk is filled by parts of it.
SIDE, NUM_ENTRIES, DISK_BYTES, BLOCK = 500, 4, 16 << 20, 4096
INSIDE = "MEMORY_V2V_OWN_MOUNTS"
ACTIONS = ("append", "pin", "forget", "append twice")
MOST_CHARACTERS = 1000


@dataclass
class Row:
    """Counts of one action on a full disk."""

    points: int = 0
    refused: int = 0
    done: int = 0
    failures: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--points", type=int, default=50, help="moments of a full disk")


def main(options: argparse.Namespace) -> int:
    if os.environ.get(INSIDE):
        torch.set_num_threads(1)
        return _attack(options.points)
    # A small disk of our own needs a name space where this user may mount.
    tried = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, text=True)
    if tried.returncode:
        print(f"skipped: no small disk can be mounted here ({tried.stderr.strip()})")
        return 0
    command = ["unshare", "-Urm", sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode


def _attack(points: int) -> int:
    disk = Path(tempfile.mkdtemp(prefix="memory-v2v-disk-"))
    rows: dict[str, Row] = {action: Row() for action in ACTIONS}
    failures: list[str] = []
    for point in range(points):
        action = ACTIONS[point % len(ACTIONS)]
        # From no free block to room for a whole save.
        free = point // len(ACTIONS) * BLOCK * (1 if point % 2 else 8)
        found, was_refused = _full_disk(disk, action, free)
        row = rows[action]
        row.points += 1
        row.refused += was_refused
        row.done += not was_refused
        row.failures += bool(found)
        failures += [f"{action}, {free} bytes free: {text}" for text in found]
    obey_permissions()
    for name, attack in (
        ("read-only disk", _read_only),
        ("folder without rights", _no_rights),
        ("folder gone", _folder_gone),
        ("a file in its place", _file_in_place),
    ):
        found, was_refused = attack(disk)
        rows[name] = Row(1, int(was_refused), int(not was_refused), int(bool(found)))
        failures += [f"{name}: {text}" for text in found]
    disk.rmdir()
    head = ["action", "points", "refused clearly", "done all the same", "failures"]
    table = [[name, r.points, r.refused, r.done, r.failures] for name, r in rows.items()]
    return report("Full and closed disks", head, table, failures)


class _Disk:
    """A file system in memory, with a session of four entries; `with` mounts and unmounts it."""

    def __init__(self, place: Path) -> None:
        self.place, self.folder = place, place / "room"

    def __enter__(self) -> "_Disk":
        options = f"size={DISK_BYTES}"
        _system("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.place))
        cache = MemoryCache()
        for number in range(1, NUM_ENTRIES + 1):
            cache = cache.append(make_entry(number, side=SIDE))
        self.cache = save_session(cache, self.folder).cache
        return self

    def __exit__(self, *_: object) -> None:
        _system("umount", "-l", str(self.place))

    @property
    def free(self) -> int:
        state = os.statvfs(self.place)
        return state.f_bavail * state.f_frsize

    def fill(self, left: int) -> None:
        """Leave this many bytes free."""
        size = self.free - left
        with (self.place / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _full_disk(place: Path, action: str, free: int) -> tuple[list[str], bool]:
    """(problems, whether the save was refused) of one action with so many bytes left."""
    with _Disk(place) as disk:
        disk.fill(free)
        changed = _changed(disk.cache, action)
        found, was_refused = _save(changed, disk.folder)
        found += _intact(disk, forgotten=1 if action == "forget" and not was_refused else 0)
        # The user's way out: forget a turn on the full disk, then go on.
        before = disk.free
        held = load_session(disk.folder).cache
        oldest = held.entries[1]
        try:
            kept = save_session(held.forget(oldest.entry_id), disk.folder).cache
        except (OSError, ValueError) as error:
            return [*found, f"forget on a full disk: {type(error).__name__}: {error}"], was_refused
        if disk.free <= before:
            found.append(f"forget freed nothing: {before} bytes before, {disk.free} after")
        if any(
            entry.entry_id == oldest.entry_id for entry in load_session(disk.folder).cache.entries
        ):
            found.append("the forgotten turn is back")
        return [*found, *_save_again(kept, disk.folder)], was_refused


def _save_again(cache: MemoryCache, folder: Path) -> list[str]:
    # Half as long as the forgotten one, so that it fits beside the list.
    found, was_refused = _save(cache.append(make_entry(77, side=SIDE, num_latent=1)), folder)
    return [*found, *(["no save after room was made"] if was_refused else [])]


def _changed(cache: MemoryCache, action: str) -> MemoryCache:
    if action == "pin":
        return cache.pin(cache.entries[0].entry_id)
    if action == "forget":
        return cache.forget(cache.entries[-1].entry_id)
    cache = cache.append(make_entry(50, side=SIDE))
    return cache.append(make_entry(51, side=SIDE)) if action == "append twice" else cache


def _save(cache: MemoryCache, folder: Path) -> tuple[list[str], bool]:
    """(problems of the error's words, whether there was an error)."""
    try:
        save_session(cache, folder)
    except (OSError, ValueError) as error:
        return words_problems(str(error), folder), True
    return [], False


def words_problems(text: str, folder: Path) -> list[str]:
    """What a message about this folder lacks."""
    found = []
    if folder.name not in text:
        found.append(f"the error does not name the folder: {text}")
    if "; " not in text:
        found.append(f"the error names no remedy: {text}")
    if "\n" in text or len(text) > MOST_CHARACTERS:
        found.append(f"the error is no short line: {text}")
    return found


def _intact(disk: _Disk, forgotten: int = 0) -> list[str]:
    """Problems of the entries that were saved before the disk was full."""
    loaded = load_session(disk.folder)
    held = {entry.entry_id: entry for entry in loaded.cache.entries}
    found = []
    for number in range(1, NUM_ENTRIES + 1 - forgotten):
        wanted = make_entry(number, side=SIDE)
        if wanted.entry_id not in held:
            found.append(f"turn {number} is lost")
        elif entry_digest(held[wanted.entry_id]) != entry_digest(wanted):
            found.append(f"turn {number} is not bit-equal")
    harmless = ("unfinished write", "added")
    reports = (*loaded.skipped, *loaded.notices)
    return [*found, *(text for text in reports if not any(words in text for words in harmless))]


def _read_only(place: Path) -> tuple[list[str], bool]:
    with _Disk(place) as disk:
        _system("mount", "-o", "remount,ro", str(place))
        found, was_refused = _save(_changed(disk.cache, "append"), disk.folder)
        return [*found, *_intact(disk), *_refused(was_refused)], was_refused


def _no_rights(place: Path) -> tuple[list[str], bool]:
    with _Disk(place) as disk:
        disk.folder.chmod(0o555)
        found, was_refused = _save(_changed(disk.cache, "append"), disk.folder)
        return [*found, *_intact(disk), *_refused(was_refused)], was_refused


def _folder_gone(place: Path) -> tuple[list[str], bool]:
    """The entries in memory are lost with their folder; the save must say so by name."""
    with _Disk(place) as disk:
        shutil.rmtree(disk.folder)
        return _save(_changed(disk.cache, "append"), disk.folder)


def _file_in_place(place: Path) -> tuple[list[str], bool]:
    with _Disk(place) as disk:
        other = disk.place / "other"
        other.write_text("x")
        found, was_refused = _save(_changed(MemoryCache(), "append"), other)
        return [*found, *_refused(was_refused)], was_refused


def _refused(was_refused: bool) -> list[str]:
    return [] if was_refused else ["the save was acknowledged, but cannot be on this disk"]


def _system(*command: str) -> None:
    subprocess.run(command, check=True)
