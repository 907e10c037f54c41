"""The entries of a re-shoot in a session, which may hold turns of other nodes too."""

from collections.abc import Mapping
from dataclasses import replace

from ..cache.entry import MemoryEntry
from ..cache.memory_cache import MemoryCache
from ..resuming.recipe import Recipe

# Recipes of re-shoots begin so: nothing else in a session is replaced by one.
_KIND = "re-shoot "


def recipe_of(content: str, redo_seed: int | None) -> Recipe:
    """The recipe of a turn.

    content: hash of everything that decides its result, except its memories.
    redo_seed: see `Recipe`.
    """
    return Recipe(_KIND + content, redo_seed)


def is_reshot(entry: MemoryEntry) -> bool:
    """Whether a re-shoot made the entry."""
    return entry.segment is None and entry.recipe.startswith(_KIND)


def entries_of(cache: MemoryCache, number: int) -> tuple[MemoryEntry, ...]:
    """Every entry of the turn with this number, newest last."""
    return tuple(entry for entry in cache.entries if is_reshot(entry) and entry.turn == number)


def entry_made_by(cache: MemoryCache, number: int, recipe: Recipe) -> MemoryEntry | None:
    """The newest entry of the turn by this recipe, whatever memories it saw."""
    held = reversed(entries_of(cache, number))
    return next((entry for entry in held if recipe.is_met_by(entry)), None)


def seen_by(
    finished: Mapping[int, MemoryEntry], cache: MemoryCache, num_moves: int, model_name: str
) -> MemoryCache:
    """What the next turn chooses its memories from: the turns before it, in their order.

    finished: these turns by number. num_moves: paths of the list.
    A turn that the user pinned and that no path of the list stands for is offered first: a pin says
    that it is always used.
    """
    pinned = (entry for entry in cache.entries if entry.is_pinned and entry.segment is None)
    others = [entry for entry in pinned if not (is_reshot(entry) and entry.turn <= num_moves)]
    earlier = (*others, *(finished[number] for number in sorted(finished)))
    return MemoryCache(model_name=model_name if earlier else None, entries=earlier)


def replaced_by(cache: MemoryCache, entry: MemoryEntry) -> tuple[MemoryCache, MemoryEntry]:
    """The cache with a new entry of a turn in place of all its entries, and this entry.

    The new one is pinned where an old one was. An entry of equal content goes too, whoever made it:
    a session holds each content once.
    """
    of_turn = entries_of(cache, entry.turn)
    equal = tuple(held for held in cache.entries if held.entry_id == entry.entry_id)
    is_pinned = any(old.is_pinned for old in (*of_turn, *equal))
    for old in {held.entry_id: held for held in (*of_turn, *equal)}.values():
        cache = cache.forget(old.entry_id)
    entry = replace(entry, is_pinned=is_pinned)
    return cache.append(entry), entry


def left_over(cache: MemoryCache, num_moves: int) -> tuple[MemoryEntry, ...]:
    """Turns of an earlier, longer list."""
    return tuple(entry for entry in cache.entries if is_reshot(entry) and entry.turn > num_moves)
