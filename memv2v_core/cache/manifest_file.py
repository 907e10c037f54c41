"""The small JSON file of a session.

Its first line holds the hash of the second, so that changed bytes are found.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from ..atomic_files import Stamp, read_file, stamp_of, write_atomically
from .boundary import attempt, make_way
from .entry import is_entry_id
from .manifest import EntryRecord, LatentShape, Manifest

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

# The lists that this process wrote last: a save need not read back what it has just written.
_KNOWN: dict[Path, tuple[Stamp | None, Manifest]] = {}


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
    entries = ",".join(map(_record_text, manifest.records))
    forgotten = ",".join(map(_forgotten_text, manifest.forgotten))
    lists = f'"entries":[{entries}],"forgotten":[{forgotten}]'
    body = f"{_compact(facts)[1:-1]},{lists}}}\n".encode()
    first = f'{{"format":"{_FORMAT}","sha256":"{hashlib.sha256(body).hexdigest()}",\n'.encode()
    make_way(path)
    write_atomically(path, first + body)
    _remember(path, manifest)


def read_manifest(folder: Path) -> ReadManifest:
    """The folder's manifest.

    Raises: ValueError when a newer version of the pack wrote it.
    """
    path = folder / MANIFEST_NAME
    known = _KNOWN.get(path)
    if known is not None and known[0] is not None and known[0] == stamp_of(path):
        return ReadManifest(known[1], "")
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
    return _parsed(content, is_hashed or first == b"{")


# A session of a thousand turns writes its list at every turn, and one turn is new.
@lru_cache(maxsize=8192)
def _record_text(record: EntryRecord) -> str:
    return _compact(record._asdict())


@lru_cache(maxsize=8192)
def _forgotten_text(item: tuple[str, float]) -> str:
    return _compact({"entry_id": item[0], "created_s": item[1]})


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _remember(path: Path, manifest: Manifest) -> None:
    while len(_KNOWN) >= _MAX_KNOWN:
        _KNOWN.pop(next(iter(_KNOWN)))
    _KNOWN[path] = (stamp_of(path), manifest)


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
