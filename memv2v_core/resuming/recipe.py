"""Which results of an earlier run are kept, and which are made, or made again.

A unit is one piece of a run: a segment of a long video, or a turn along a camera path. An entry on
disk is a finished unit when two things are unchanged: everything that decides the result, and the
memories that the model saw.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..cache.entry import MemoryEntry

State = Literal["missing", "done", "stale"]
_HASH_BYTES = 16
_REDONE = " redo "
_SEEDS = 2**64
_SEED = re.compile("[0-9]{1,20}")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a unit's result, except its memories.

    content: hash of the source and of every setting, including the seed of the whole run.
    redo_seed: seed of a unit that the user asked to make again.
    """

    content: str
    redo_seed: int | None = None

    def __str__(self) -> str:
        return (
            self.content if self.redo_seed is None else f"{self.content}{_REDONE}{self.redo_seed}"
        )

    def is_met_by(self, entry: MemoryEntry) -> bool:
        """Whether the entry was made by this recipe.

        An entry that was once made again stays until another redo names its unit.
        """
        # Without a redo now, the result of an earlier redo still counts.
        if self.redo_seed is None:
            return entry.recipe.partition(_REDONE)[0] == self.content
        return entry.recipe == str(self)


def redo_seed_of(entry: MemoryEntry) -> int | None:
    """The redo seed of the recipe that made the entry; None where it was not made again."""
    text = entry.recipe.partition(_REDONE)[2]
    # A file may hold any text.
    return int(text) if _SEED.fullmatch(text) else None


def unit_seed(seed: int, idx: int) -> int:
    """The noise seed of the unit at this place.

    Each unit denoises independently, so each has its own seed.
    """
    return (seed + idx) % _SEEDS


def state_of(
    entry: MemoryEntry | None, memory_ids: Sequence[str], stale_ids: Collection[str]
) -> State:
    """How far a unit's entry can be used.

    memory_ids: the entries that it would see if it were made now.
    An entry is stale when it saw other entries than it would see now, or when it saw a stale one.
    """
    if entry is None:
        return "missing"
    is_fresh = entry.memory_ids == tuple(memory_ids) and not set(entry.memory_ids) & set(stale_ids)
    return "done" if is_fresh else "stale"


def stale_entries(entries: Sequence[MemoryEntry]) -> frozenset[str]:
    """Ids of the entries that saw an entry which is no longer among them.

    Seeing it through other entries counts too.
    """
    held = {entry.entry_id for entry in entries}
    stale = {entry.entry_id for entry in entries if not held.issuperset(entry.memory_ids)}
    # Staleness spreads from entry to entry, until a round finds no new one.
    found = set(stale)
    while found:
        found = {
            entry.entry_id for entry in entries if stale.intersection(entry.memory_ids)
        } - stale
        stale |= found
    return frozenset(stale)


def content_hash(*parts: object) -> str:
    """Hex hash of numbers, texts, tensors and any nesting of them.

    Of other objects only the kind and `weights` count. The same content has the same hash in
    another process and on another day.
    """
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    _feed(digest, parts)
    return digest.hexdigest()


def _feed(digest: "hashlib.blake2b", value: object) -> None:
    if value is None or isinstance(value, bool | int | float | str | bytes):
        _label(digest, type(value).__name__, value)
    elif isinstance(value, torch.Tensor):
        _label(digest, str(value.dtype), tuple(value.shape))
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, Mapping):
        _label(digest, "mapping", len(value))
        # Sorted: the order of a mapping is not part of its content.
        for key in sorted(value, key=str):
            _feed(digest, str(key))
            _feed(digest, value[key])
    elif isinstance(value, list | tuple):
        _label(digest, "sequence", len(value))
        for item in value:
            _feed(digest, item)
    elif isinstance(value, set | frozenset):
        _feed(digest, sorted(map(str, value)))
    else:
        _label(digest, "object", type(value).__qualname__)
        _feed(digest, getattr(value, "weights", None))


def _label(digest: "hashlib.blake2b", kind: str, value: object) -> None:
    # Kind and length go first, so that no two nestings give the same bytes.
    digest.update(f"{kind}:{value!r};".encode())
