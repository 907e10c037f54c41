"""Which segments of a long edit are finished, and which must be made, or made again.

An entry on disk is a finished segment when two things are unchanged: everything that decides the
result, and the memories that the model saw.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from ..cache.entry import MemoryEntry, Segment
from ..cache.memory_cache import MemoryCache, preferred
from ..clips.segments import SegmentPlan
from ..vocabulary import EditMode
from .settings import SamplerSettings

State = Literal["missing", "done", "stale"]
_HASH_BYTES = 16
_REDONE = " redo "
_SEEDS = 2**64


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a segment's result, except its memories.

    content: hash of the source and of every setting, including the seed of the whole video.
    redo_seed: seed of a segment that the user asked to make again.
    """

    content: str
    redo_seed: int | None = None

    def __str__(self) -> str:
        return (
            self.content if self.redo_seed is None else f"{self.content}{_REDONE}{self.redo_seed}"
        )

    def is_met_by(self, entry: MemoryEntry) -> bool:
        """Whether the entry was made by this recipe.

        An entry that was once made again stays until another redo names its segment.
        """
        # Without a redo now, the result of an earlier redo still counts.
        if self.redo_seed is None:
            return entry.recipe.partition(_REDONE)[0] == self.content
        return entry.recipe == str(self)


def segment_seed(seed: int, idx: int) -> int:
    """The noise seed of a segment.

    Each segment denoises independently, so each has its own seed.
    """
    return (seed + idx) % _SEEDS


def entries_of(cache: MemoryCache, idx: int) -> tuple[MemoryEntry, ...]:
    """Every entry of the segment at this place, newest last."""
    return tuple(
        entry for entry in cache.entries if entry.segment is not None and entry.segment.idx == idx
    )


def chosen_of(cache: MemoryCache, segment: Segment) -> MemoryEntry | None:
    """The entry that stands for exactly these frames of the video.

    It is the entry that other segments see as a memory.
    """
    return preferred(
        [entry for entry in entries_of(cache, segment.idx) if entry.segment == segment]
    )


def finished_entries(plan: SegmentPlan, cache: MemoryCache) -> tuple[MemoryEntry, ...]:
    """The entry of every segment, in order. Of several the pinned one counts, else the newest.

    Raises: ValueError naming the segments that are missing.
    """
    found = [chosen_of(cache, segment) for segment in plan.segments]
    missing = [str(i + 1) for i, entry in enumerate(found) if entry is None]
    if missing:
        raise ValueError(
            f"cache lacks segments {', '.join(missing)} of {len(found)}; edit them with this Split "
            "Segments, and connect the cache of the last sampler"
        )
    return tuple(entry for entry in found if entry is not None)


def entry_made_by(cache: MemoryCache, segment: Segment, recipe: Recipe) -> MemoryEntry | None:
    """The newest entry of exactly these frames by this recipe, whatever memories it saw."""
    held = reversed(entries_of(cache, segment.idx))
    return next(
        (entry for entry in held if entry.segment == segment and recipe.is_met_by(entry)), None
    )


def state_of(
    entry: MemoryEntry | None, memory_ids: Sequence[str], stale_ids: Collection[str]
) -> State:
    """How far a segment's entry can be used.

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


def without_segment(cache: MemoryCache, idx: int) -> MemoryCache:
    """The cache without any entry of the segment at this place."""
    for entry in entries_of(cache, idx):
        cache = cache.forget(entry.entry_id)
    return cache


def seen_by(entries: Mapping[int, MemoryEntry], segment: Segment, model_name: str) -> MemoryCache:
    """The finished segments before this one, in the order of the video.

    They form a cache, from which memories are chosen.
    """
    earlier = tuple(entries[idx] for idx in sorted(entries) if idx < segment.idx)
    return MemoryCache(model_name=model_name if earlier else None, entries=earlier)


def hash_settings(
    model: object,
    vae: object,
    prompts: object,
    sampler: SamplerSettings,
    mode: EditMode,
    memory: tuple[object, ...],
    fifo_window: int,
) -> str:
    """Hash of everything that decides all segments of an edit in the same way.

    model, vae, prompts: whatever decides the result of each, as plain values and tensors.
    memory: see `MemorySettings.parts`. fifo_window: latent frames that the FIFO mode sees at once.
    Settings that a mode does not read do not count: changing them makes nothing again.
    """
    by_mode: dict[EditMode, tuple[object, ...]] = {
        "memory": memory,
        "independent": (),
        "fifo": (fifo_window,),
    }
    settings = vars(sampler)
    if mode == "fifo":
        # FIFO always steps by Euler, so the chosen sampler changes nothing.
        settings = {name: value for name, value in settings.items() if name != "sampler_name"}
    return content_hash(model, vae, prompts, tuple(settings.values()), mode, by_mode[mode])


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
