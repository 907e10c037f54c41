"""The small JSON file of a session.

It lists the entries in order, which entries are pinned, and which were forgotten.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..atomic_files import read_file, write_atomically
from .entry import MemoryEntry, is_entry_id
from .memory_cache import MemoryCache, require_same_latent, require_same_model

MANIFEST_NAME = "session.json"
_FORMAT = "memory_v2v_session"
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class EntryRecord:
    """What the manifest says about one entry.

    Only order and pins are read back; the rest is in the entry's file.
    """

    entry_id: str
    turn: int
    created_s: float
    is_pinned: bool
    parent_id: str | None


@dataclass(frozen=True)
class Manifest:
    """A session on disk.

    records: oldest first. forgotten: for each forgotten id, the newest `created_s` that it covers.
    """

    model_name: str | None
    latent_shape: tuple[int, int, int] | None
    records: tuple[EntryRecord, ...]
    forgotten: tuple[tuple[str, float], ...] = ()

    def covers(self, entry_id: str, created_s: float) -> bool:
        """Whether this entry was forgotten and not made again since."""
        return created_s <= dict(self.forgotten).get(entry_id, -math.inf)


EMPTY = Manifest(None, None, ())


def rebuilt(entries: Iterable[MemoryEntry]) -> Manifest:
    """The manifest that the entry files imply: sorted by turn, then by time."""
    # The time decides where two branches have the same turn number.
    ordered = sorted(entries, key=lambda entry: (entry.turn, entry.created_s))
    if not ordered:
        return EMPTY
    return Manifest(
        ordered[0].model_name, ordered[0].latent_shape, tuple(_record(entry) for entry in ordered)
    )


def merged(disk: Manifest, cache: MemoryCache, session: str) -> Manifest:
    """The session after this cache is saved over `disk`.

    Only forgotten entries are lost, from either side. New entries follow the entries on disk. A pin
    on disk stays unless this cache changed it.

    Raises: ValueError when model or latent size differ.
    """
    # Step 1: what either side forgot. The newer time of an id wins.
    forgotten = dict(disk.forgotten)
    for old in cache.forgotten:
        forgotten[old.entry_id] = max(old.created_s, forgotten.get(old.entry_id, -math.inf))
    union = Manifest(None, None, (), tuple(forgotten.items()))
    # Step 2: the entries on disk that neither side forgot. They come first and keep their order.
    held = {entry.entry_id: entry for entry in cache.entries}
    on_disk = [
        record for record in disk.records if not union.covers(record.entry_id, record.created_s)
    ]
    # A disk that holds nothing any more accepts any model.
    if on_disk and cache.entries:
        label = f"session {session!r} on disk"
        require_same_model(label, disk.model_name, cache.entries[0].model_name)
        require_same_latent(label, disk.latent_shape, cache.entries[0].latent_shape)
    # Step 3: pins. Another writer may have pinned since, so only our own changes are written.
    records = [
        _record(held[old.entry_id]) if old.entry_id in cache.changed_pins else old
        for old in on_disk
    ]
    # Step 4: our entries that the disk does not know yet.
    known = {record.entry_id for record in records}
    for entry in cache.entries:
        if entry.entry_id not in known and not union.covers(entry.entry_id, entry.created_s):
            records.append(_record(entry))
    # Step 5: an empty session is open to any model again.
    model_name = cache.model_name if cache.entries else disk.model_name
    latent_shape = cache.latent_shape if cache.entries else disk.latent_shape
    if not records:
        model_name, latent_shape = None, None
    return Manifest(model_name, latent_shape, tuple(records), union.forgotten)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the folder's manifest, whole or not at all."""
    content = {
        "format": _FORMAT,
        "version": _FORMAT_VERSION,
        "session": folder.name,
        "model_name": manifest.model_name,
        "latent_shape": manifest.latent_shape,
        "entries": [vars(record) for record in manifest.records],
        "forgotten": [
            {"entry_id": entry_id, "created_s": created_s}
            for entry_id, created_s in manifest.forgotten
        ],
    }
    write_atomically(folder / MANIFEST_NAME, (json.dumps(content, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> tuple[Manifest | None, str | None]:
    """The folder's manifest, or None and the reason why it cannot be used.

    Raises: ValueError when a newer version of the pack wrote it.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(read_file(path))
    except FileNotFoundError:
        return None, f"{MANIFEST_NAME} is missing"
    except ValueError as error:
        return None, f"{MANIFEST_NAME} is broken ({error})"
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None, f"{MANIFEST_NAME} is not a Memory-V2V manifest"
    version = content.get("version")
    # A newer format must not be treated as broken: a rebuild would lose what it holds.
    if isinstance(version, int) and version > _FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}, wanted at most {_FORMAT_VERSION}; update the node pack"
        )
    try:
        return _parsed(content), None
    except (KeyError, TypeError, ValueError) as error:
        return None, f"{MANIFEST_NAME} is broken ({type(error).__name__}: {error})"


def _parsed(content: dict) -> Manifest:
    shape = content["latent_shape"]
    if not isinstance(content["model_name"], str | None):
        raise ValueError(f"model_name got {content['model_name']!r}")
    latent_shape = None if shape is None else (int(shape[0]), int(shape[1]), int(shape[2]))
    return Manifest(
        model_name=content["model_name"],
        latent_shape=latent_shape,
        records=tuple(_parsed_record(record) for record in content["entries"]),
        forgotten=tuple((_parsed_id(old), float(old["created_s"])) for old in content["forgotten"]),
    )


def _parsed_record(raw: dict) -> EntryRecord:
    return EntryRecord(
        entry_id=_parsed_id(raw),
        turn=int(raw["turn"]),
        created_s=float(raw["created_s"]),
        is_pinned=bool(raw["is_pinned"]),
        parent_id=raw["parent_id"],
    )


def _parsed_id(raw: dict) -> str:
    if not is_entry_id(raw["entry_id"]):
        raise ValueError(f"entry_id got {raw['entry_id']!r}")
    return raw["entry_id"]


def _record(entry: MemoryEntry) -> EntryRecord:
    return EntryRecord(
        entry.entry_id, entry.turn, entry.created_s, entry.is_pinned, entry.parent_id
    )
