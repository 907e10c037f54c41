"""The small JSON file of a session.

Its first line holds the hash of the second, so that changed bytes are found.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from ..atomic_files import Stamp, read_file, stamp_of, write_atomically
from .boundary import attempt, make_way
from .entry import MemoryEntry, is_entry_id
from .manifest import EntryRecord, LatentShape, Manifest
from .memory_cache import MemoryCache

MANIFEST_NAME = "session.json"
_FORMAT = "memory_v2v_session"
_FORMAT_VERSION = 1
# About a million entries.
_MAX_BYTES = 256 * 2**20
_MAX_AXIS = 2**31
# Seconds since 1970, four million years from now.
_LATEST_S = 2.0**47

_MAX_KNOWN = 16

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class LastSaved:
    """What this process knows of a session, so that a save looks at new entries alone.

    It counts while the manifest on disk is the very one that this process wrote or read.

    entries: listed in the manifest, each read from its file there, with a hash for every tensor.
    ids: of every entry in the manifest. A save that adds entries adds to this set.
    """

    entries: tuple[MemoryEntry, ...]
    ids: set[str]


@dataclass(frozen=True, eq=False)
class _Known:
    """A manifest that lies on the disk as a file of this stamp, and its entries as text."""

    stamp: Stamp | None
    manifest: Manifest
    entries_text: str | None = None
    saved: LastSaved | None = None


# A save need not read back what this process has just written.
_KNOWN: dict[Path, _Known] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class ReadManifest:
    """A folder's manifest, and what is wrong with it.

    manifest: what could be read; None where nothing could. problem: "" for an intact manifest.
    """

    manifest: Manifest | None
    problem: str


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the folder's manifest, whole or not at all."""
    path = folder / MANIFEST_NAME
    facts = {
        "version": _FORMAT_VERSION,
        "session": folder.name,
        "model_name": manifest.model_name,
        "latent_shape": manifest.latent_shape,
    }
    entries = _entries_text(path, manifest)
    forgotten = ",".join(map(_forgotten_text, manifest.forgotten))
    lists = f'"entries":[{entries}],"forgotten":[{forgotten}]'
    body = f"{_compact(facts)[1:-1]},{lists}}}\n".encode()
    first = f'{{"format":"{_FORMAT}","sha256":"{hashlib.sha256(body).hexdigest()}",\n'.encode()
    make_way(path)
    write_atomically(path, first + body)
    _remember(path, _Known(stamp_of(path), manifest, entries))


def last_saved(folder: Path, disk: Manifest, cache: MemoryCache) -> LastSaved | None:
    """What is known of this folder, where `cache` only added entries to it; else None.

    disk: the manifest that `read_manifest` just gave.
    """
    known = _KNOWN.get(folder / MANIFEST_NAME)
    if known is None or known.manifest is not disk or known.saved is None:
        return None
    entries = known.saved.entries
    # Entries are equal only to themselves, so this compares a thousand of them in microseconds.
    is_grown = cache.entries[: len(entries)] == entries
    return known.saved if is_grown and not (cache.forgotten or cache.changed_pins) else None


def remember_saved(folder: Path, manifest: Manifest, saved: LastSaved) -> None:
    """Keep what a save or a load found in the folder, while `manifest` lies there."""
    path = folder / MANIFEST_NAME
    known = _KNOWN.get(path)
    if known is not None and known.manifest is manifest:
        _remember(path, replace(known, saved=saved))


def read_manifest(folder: Path, is_kept: bool = True) -> ReadManifest:
    """The folder's manifest.

    is_kept: False for a look at many sessions, which must not push out those in use.

    Raises: ValueError when a newer version of the pack wrote it.
    """
    path = folder / MANIFEST_NAME
    known, stamp = _KNOWN.get(path), stamp_of(path)
    if known is not None and stamp is not None and known.stamp == stamp:
        return ReadManifest(known.manifest, "")
    data, reason = attempt(_bytes_of, path)
    if data is None:
        missing = not path.is_symlink() and not path.exists()
        return _broken("is missing" if missing else f"is broken ({reason})")
    content, reason = attempt(lambda _: json.loads(data), path)
    if content is None:
        return _broken(f"is broken ({reason})")
    if not isinstance(content, dict):
        return _broken("is not a Memory-V2V manifest")
    first, _, body = data.partition(b"\n")
    is_hashed = content.get("sha256") == hashlib.sha256(body).hexdigest()
    version = content.get("version")
    # A newer format must not be treated as broken: a repair would lose what it holds. A number
    # that the hash does not cover is no version but a changed byte.
    if is_hashed and type(version) is int and version > _FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}, wanted at most {_FORMAT_VERSION}; update the node pack"
        )
    # Versions before this one wrote no hash, and a line for every bracket.
    read = _parsed(content, is_hashed or first == b"{")
    if is_kept and read.manifest is not None and not read.problem:
        _remember(path, _Known(stamp, read.manifest))
    return read


def _entries_text(path: Path, manifest: Manifest) -> str:
    """The records as JSON, without brackets; most of it is known from the last write."""
    known = _KNOWN.get(path)
    count = 0 if known is None else len(known.manifest.records)
    if (
        known is not None
        and known.entries_text
        and manifest.records[:count] == known.manifest.records
    ):
        return ",".join([known.entries_text, *map(_record_text, manifest.records[count:])])
    return ",".join(map(_record_text, manifest.records))


# A session of a thousand turns writes its list at every turn, and one turn is new.
@lru_cache(maxsize=8192)
def _record_text(record: EntryRecord) -> str:
    return _compact(record._asdict())


@lru_cache(maxsize=8192)
def _forgotten_text(item: tuple[str, float]) -> str:
    return _compact({"entry_id": item[0], "created_s": item[1]})


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _remember(path: Path, known: _Known) -> None:
    # Nodes and the Memory Bank's requests run in threads of their own.
    with _LOCK:
        _KNOWN.pop(path, None)
        while len(_KNOWN) >= _MAX_KNOWN:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[path] = known


def _broken(problem: str, manifest: Manifest | None = None) -> ReadManifest:
    return ReadManifest(manifest, f"{MANIFEST_NAME} {problem}")


def _bytes_of(path: Path) -> bytes:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it is larger than {_MAX_BYTES >> 20} MiB, so it is no manifest")
    return read_file(path)


def _parsed(content: dict, is_intact: bool) -> ReadManifest:
    """The manifest of this JSON; of a damaged one, every record that is whole."""
    records, num_bad = _whole(content.get("entries"), _record)
    forgotten, num_bad_forgotten = _whole(content.get("forgotten"), _stamp)
    name, shape = content.get("model_name"), _shape(content.get("latent_shape"))
    manifest = Manifest(name if isinstance(name, str) else None, shape, records, forgotten)
    if content.get("format") != _FORMAT:
        return _broken("is not a Memory-V2V manifest", manifest if records else None)
    if not is_intact:
        return _broken("has changed bytes", manifest)
    is_whole = num_bad + num_bad_forgotten == 0 and content.get("version") == _FORMAT_VERSION
    is_kind_whole = (name is None or isinstance(name, str)) and (
        shape is not None or content.get("latent_shape") is None
    )
    if is_whole and is_kind_whole:
        return ReadManifest(manifest, "")
    return _broken("is broken (it lacks facts of the session)", manifest)


def _whole(raw: object, parse: Callable[[dict], Item | None]) -> tuple[tuple[Item, ...], int]:
    """The items of a JSON list that can be read, and how many cannot."""
    if not isinstance(raw, list):
        return (), 1
    items = [parse(item) if isinstance(item, dict) else None for item in raw]
    whole = tuple(item for item in items if item is not None)
    return whole, len(items) - len(whole)


def _record(raw: dict) -> EntryRecord | None:
    stamp, turn, is_pinned = _stamp(raw), raw.get("turn"), raw.get("is_pinned")
    parent_id = raw.get("parent_id")
    if stamp is None or not isinstance(is_pinned, bool):
        return None
    if type(turn) is not int or not 1 <= turn <= _MAX_AXIS:
        return None
    if not (parent_id is None or is_entry_id(parent_id)):
        return None
    entry_id, created_s = stamp
    return EntryRecord(entry_id, turn, created_s, is_pinned, parent_id)


def _stamp(raw: dict) -> tuple[str, float] | None:
    """The id and the time of an entry."""
    entry_id, created_s = raw.get("entry_id"), raw.get("created_s")
    if not isinstance(entry_id, str) or not is_entry_id(entry_id):
        return None
    # True counts as 1 for Python, and is no time. Python also reads NaN and Infinity.
    if isinstance(created_s, bool) or not isinstance(created_s, int | float):
        return None
    return (entry_id, float(created_s)) if -_LATEST_S < created_s < _LATEST_S else None


def _shape(raw: object) -> LatentShape | None:
    if not isinstance(raw, list) or len(raw) != 3:
        return None
    if not all(type(size) is int and 0 < size < _MAX_AXIS for size in raw):
        return None
    return raw[0], raw[1], raw[2]
