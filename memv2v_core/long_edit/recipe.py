"""The entries of a long edit's segments, and what decides all of them: see `resuming.recipe`."""

from collections.abc import Mapping

from ..cache.entry import MemoryEntry, Segment
from ..cache.memory_cache import MemoryCache, preferred
from ..clips.segments import SegmentPlan
from ..resuming.recipe import Recipe, content_hash
from ..vocabulary import EditMode
from .settings import SamplerSettings


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
