"""What a session knows of itself: the order of its entries, their pins, and what was forgotten."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import NamedTuple

from .entry import MemoryEntry
from .entry_file import ENTRY_SUFFIX
from .memory_cache import MemoryCache, require_same_latent, require_same_model

# What was forgotten before the last thousand forgotten entries is not remembered: the files are
# long gone, and a list that only grows would slow down every save.
MAX_FORGOTTEN = 1000

LatentShape = tuple[int, int, int]


class EntryRecord(NamedTuple):
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

    records: oldest first. forgotten: for each forgotten id, the newest `created_s` that it covers,
    in the order of forgetting.
    """

    model_name: str | None
    latent_shape: LatentShape | None
    records: tuple[EntryRecord, ...]
    forgotten: tuple[tuple[str, float], ...] = ()


EMPTY = Manifest(None, None, ())


def covers(forgotten: Mapping[str, float], entry_id: str, created_s: float) -> bool:
    """Whether this entry was forgotten and not made again since."""
    return created_s <= forgotten.get(entry_id, -math.inf)


def repaired(damaged: Manifest | None, entries: Iterable[MemoryEntry]) -> Manifest:
    """The manifest that the entry files imply, with the pins and the order of a damaged one.

    Without its order, entries are sorted by turn, then by time. What a damaged manifest calls
    forgotten does not count: a changed time would delete an entry.
    """
    # The time decides where two branches have the same turn number.
    ordered = sorted(entries, key=lambda entry: (entry.turn, entry.created_s))
    if not ordered:
        return EMPTY
    known = {} if damaged is None else {old.entry_id: old for old in damaged.records}
    if all(entry.entry_id in known for entry in ordered):
        places = {entry_id: place for place, entry_id in enumerate(known)}
        ordered.sort(key=lambda entry: places[entry.entry_id])
    records = tuple(
        record_of(entry)._replace(is_pinned=known.get(entry.entry_id, entry).is_pinned)
        for entry in ordered
    )
    return Manifest(*kind_of(damaged, ordered), records)


def kind_of(
    manifest: Manifest | None, entries: Sequence[MemoryEntry]
) -> tuple[str | None, LatentShape | None]:
    """Model and latent size (C, H, W) of a session: what the manifest says, else the majority's.

    Only a kind that an entry has counts. Of equally many the older one counts.
    """
    kinds = Counter((entry.model_name, entry.latent_shape) for entry in entries)
    if not kinds:
        return None, None
    if manifest is not None and manifest.model_name is not None and manifest.latent_shape:
        stated = manifest.model_name, manifest.latent_shape
        if stated in kinds:
            return stated
    return kinds.most_common(1)[0][0]


def merged(disk: Manifest, cache: MemoryCache, session: str) -> Manifest:
    """The session after this cache is saved over `disk`.

    Only forgotten entries are lost, from either side. New entries follow the entries on disk. A pin
    on disk stays unless this cache changed it.

    Raises: ValueError when model or latent size differ.
    """
    # Step 1: what either side forgot. The newer time of an id wins, and the id moves to the end.
    forgotten = dict(disk.forgotten)
    for old in cache.forgotten:
        newest_s = max(old.created_s, forgotten.pop(old.entry_id, -math.inf))
        forgotten[old.entry_id] = newest_s
    # Step 2: the entries on disk that neither side forgot. They come first and keep their order.
    records = list(disk.records)
    if forgotten:
        records = [old for old in records if not covers(forgotten, old.entry_id, old.created_s)]
    # A disk that holds nothing any more accepts any model.
    if records and cache.entries:
        require_kind(disk, cache.entries[0].model_name, cache.entries[0].latent_shape, session)
    # Step 3: pins. Another writer may have pinned since, so only our own changes are written.
    if cache.changed_pins:
        changed = {
            entry.entry_id: record_of(entry)
            for entry in cache.entries
            if entry.entry_id in cache.changed_pins
        }
        records = [changed.get(old.entry_id, old) for old in records]
    # Step 4: our entries that the disk does not know yet.
    known = {record.entry_id for record in records}
    for entry in cache.entries:
        if entry.entry_id not in known and not covers(forgotten, entry.entry_id, entry.created_s):
            records.append(record_of(entry))
    # Step 5: an empty session is open to any model again.
    model_name = cache.model_name if cache.entries else disk.model_name
    latent_shape = cache.latent_shape if cache.entries else disk.latent_shape
    if not records:
        model_name, latent_shape = None, None
    return Manifest(model_name, latent_shape, tuple(records), tuple(forgotten.items()))


def extended(
    disk: Manifest,
    listed: Set[str],
    cache: MemoryCache,
    new: Sequence[MemoryEntry],
    session: str,
) -> Manifest:
    """`merged` where this cache changed nothing but adding `new` to what lies on `disk`.

    listed: ids of all entries on disk.

    Raises: as `merged`.
    """
    if not new:
        return disk
    require_kind(disk, new[0].model_name, new[0].latent_shape, session)
    forgotten = dict(disk.forgotten)
    records = {
        entry.entry_id: record_of(entry)
        for entry in new
        if entry.entry_id not in listed and not covers(forgotten, entry.entry_id, entry.created_s)
    }
    return Manifest(
        cache.model_name, cache.latent_shape, (*disk.records, *records.values()), disk.forgotten
    )


def require_kind(disk: Manifest, model_name: str, latent_shape: LatentShape, session: str) -> None:
    """Raise ValueError unless latents (C, H, W) of this model fit into the session on disk."""
    if disk.records:
        label = f"session {session!r} on disk"
        require_same_model(label, disk.model_name, model_name)
        require_same_latent(label, disk.latent_shape, latent_shape)


def of_one_kind(
    entries: list[MemoryEntry], manifest: Manifest, session: str
) -> tuple[MemoryCache, list[str]]:
    """The entries that belong together, and a line for each of the others.

    Those of the kind that the manifest states, else of most entries.
    """
    model_name, latent_shape = kind_of(manifest, entries)
    if model_name is None or latent_shape is None:
        return MemoryCache(session=session), []
    label = f"session {session!r}"
    fitting, refused = [], []
    for entry in entries:
        # For example copied files, or a changed byte in a file from before hashes.
        try:
            require_same_model(label, model_name, entry.model_name)
            require_same_latent(label, latent_shape, entry.latent_shape)
            fitting.append(entry)
        except ValueError as error:
            refused.append(f"{entry.entry_id}{ENTRY_SUFFIX}: {error}")
    return MemoryCache(model_name, tuple(fitting), session), refused


def trimmed(manifest: Manifest, names: Set[str]) -> Manifest:
    """The manifest without the oldest forgotten ids, except of files among `names`."""
    old, new = manifest.forgotten[:-MAX_FORGOTTEN], manifest.forgotten[-MAX_FORGOTTEN:]
    if not old:
        return manifest
    kept = tuple(item for item in old if f"{item[0]}{ENTRY_SUFFIX}" in names)
    return replace(manifest, forgotten=(*kept, *new))


def forgets_a_record(manifest: Manifest) -> bool:
    """Whether an entry is listed and forgotten at once, so that the next save removes it."""
    forgotten = dict(manifest.forgotten)
    return any(covers(forgotten, old.entry_id, old.created_s) for old in manifest.records)


def record_of(entry: MemoryEntry) -> EntryRecord:
    """What the manifest says about this entry."""
    return EntryRecord(
        entry.entry_id, entry.turn, entry.created_s, entry.is_pinned, entry.parent_id
    )
