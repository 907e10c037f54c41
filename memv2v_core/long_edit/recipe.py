"""How far the edit of a long video is: which segments are finished, and which have to be made, or
made anew.

An entry on disk is the finished segment of an edit when all that decides the result is the same as
it was, and so are the memories that the model saw.
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
    """All that decides a segment's result beside its memories.

    content: hash of the source and of every setting, the seed of the whole video included.
    redo_seed: of a segment that the user asked to have anew.
    """

    content: str
    redo_seed: int | None = None

    def __str__(self) -> str:
        return (
            self.content if self.redo_seed is None else f"{self.content}{_REDONE}{self.redo_seed}"
        )

    def is_met_by(self, entry: MemoryEntry) -> bool:
        """Whether the entry was made like this. One that was once made anew stays until another
        redo names it.
        """
        if self.redo_seed is None:
            return entry.recipe.partition(_REDONE)[0] == self.content
        return entry.recipe == str(self)


def segment_seed(seed: int, idx: int) -> int:
    """The noise seed of a segment: every segment denoises independently, so each has its own."""
    return (seed + idx) % _SEEDS


def entries_of(cache: MemoryCache, idx: int) -> tuple[MemoryEntry, ...]:
    """Every entry of the segment in this place, newest last."""
    return tuple(
        entry for entry in cache.entries if entry.segment is not None and entry.segment.idx == idx
    )


def chosen_of(cache: MemoryCache, segment: Segment) -> MemoryEntry | None:
    """The entry that stands for exactly these frames of the video, as it does where it is a
    memory."""
    return preferred(
        [entry for entry in entries_of(cache, segment.idx) if entry.segment == segment]
    )


def finished_entries(plan: SegmentPlan, cache: MemoryCache) -> tuple[MemoryEntry, ...]:
    """The edit of every segment, of several the pinned, else the newest, in order.

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
    """The newest entry that edits exactly these frames by this recipe, whatever memories it saw."""
    held = reversed(entries_of(cache, segment.idx))
    return next(
        (entry for entry in held if entry.segment == segment and recipe.is_met_by(entry)), None
    )


def state_of(
    entry: MemoryEntry | None, memory_ids: Sequence[str], stale_ids: Collection[str]
) -> State:
    """What of a segment's entry can be used. `memory_ids`: the entries that it would see if it were
    made now.

    Stale is one that saw another entry than it would see now, or one that is stale itself.
    """
    if entry is None:
        return "missing"
    is_fresh = entry.memory_ids == tuple(memory_ids) and not set(entry.memory_ids) & set(stale_ids)
    return "done" if is_fresh else "stale"


def stale_entries(entries: Sequence[MemoryEntry]) -> frozenset[str]:
    """Ids of the entries that saw an entry that is no longer among them, directly or through
    others.
    """
    held = {entry.entry_id for entry in entries}
    stale = {entry.entry_id for entry in entries if not held.issuperset(entry.memory_ids)}
    found = set(stale)
    while found:
        found = {
            entry.entry_id for entry in entries if stale.intersection(entry.memory_ids)
        } - stale
        stale |= found
    return frozenset(stale)


def without_segment(cache: MemoryCache, idx: int) -> MemoryCache:
    """The cache without any entry of the segment in this place."""
    for entry in entries_of(cache, idx):
        cache = cache.forget(entry.entry_id)
    return cache


def seen_by(entries: Mapping[int, MemoryEntry], segment: Segment, model_name: str) -> MemoryCache:
    """The finished segments before this one, in the order of the video, as a cache to choose
    memories from.
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
    """Hash of all that decides every segment of an edit alike.

    model, vae, prompts: what decides a result of each, as plain values and tensors. memory: see
    `MemorySettings.parts`. fifo_window: latent frames that the FIFO mode sees at once. What a mode
    does not read does not count: changing it starts nothing over.
    """
    by_mode: dict[EditMode, tuple[object, ...]] = {
        "memory": memory,
        "independent": (),
        "fifo": (fifo_window,),
    }
    settings = vars(sampler)
    if mode == "fifo":
        settings = {name: value for name, value in settings.items() if name != "sampler_name"}
    return content_hash(model, vae, prompts, tuple(settings.values()), mode, by_mode[mode])


def content_hash(*parts: object) -> str:
    """Hex hash of numbers, texts, tensors and any nesting of them; of other objects only the kind
    and `weights` count.

    The same content has the same hash in another process and on another day.
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
    digest.update(f"{kind}:{value!r};".encode())
