"""What a run of many units does in the same way for each: keep, make, mark as stale, save."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..cache.entry import MemoryEntry
from ..cache.memory_cache import MemoryCache
from ..sampling.turn import Turn
from .host import RunHost
from .outcomes import Outcome
from .recipe import Recipe, state_of, unit_seed
from .settings import RedoSettings


@dataclass(eq=False, kw_only=True)
class ResumingRun:
    """The progress of one run.

    stale: ids of the entries that are kept although stale.
    repairs: what saving had to repair.
    """

    cache: MemoryCache
    host: RunHost
    stale: set[str] = field(default_factory=set)
    repairs: list[str] = field(default_factory=list)

    def sound(self, entry: MemoryEntry | None) -> MemoryEntry | None:
        """The entry, or None where its file cannot be read: then the unit is made again."""
        problem = None if entry is None else entry.problem()
        if problem is None:
            return entry
        self.repairs.append(f"made again: {problem}")
        return None

    def kept_or_made(
        self,
        entry: MemoryEntry | None,
        memory_ids: Sequence[str],
        redo: RedoSettings,
        make: Callable[[], MemoryEntry],
    ) -> tuple[MemoryEntry, Outcome]:
        """The entry that stands for a unit from now on, and where it comes from.

        entry: of an earlier run by the same recipe. memory_ids: what it would see now.
        make: gives a new entry.
        """
        state = state_of(entry, memory_ids, self.stale)
        if entry is None or (state == "stale" and redo.redoes_stale):
            made = make()
            # A new unit that saw a stale one repeats the old result.
            if self.stale.intersection(made.memory_ids):
                self.stale.add(made.entry_id)
            return made, "new"
        if state == "stale":
            self.stale.add(entry.entry_id)
            return entry, "stale"
        return entry, "kept"

    def require_room(self, turn: Turn) -> None:
        """Raise ValueError where the finished turn could not be saved."""
        try:
            self.host.require_room(self.cache, turn)
        except ValueError as error:
            raise ValueError(f"{error}; here: give this model and size another session") from error

    def saved(self, grown: MemoryCache, entry: MemoryEntry) -> MemoryEntry:
        """A new entry of the cache `grown`, after this cache was saved."""
        saved = self.host.save(grown)
        self.cache = saved.cache
        self.repairs += saved.notices
        # As it is on disk now: a long run must not fill the memory.
        on_disk = {held.entry_id: held for held in saved.cache.entries}
        return on_disk.get(entry.entry_id, entry)


def noise_of(seed: int, idx: int, recipe: Recipe, stale: MemoryEntry | None) -> tuple[int, str]:
    """The seed of a unit's noise, and the recipe to store with the result.

    seed: of the whole run. idx: place of the unit, from 0.
    stale: an entry to make again; it keeps its own noise.
    """
    if stale is not None:
        return stale.seed, stale.recipe
    return unit_seed(seed if recipe.redo_seed is None else recipe.redo_seed, idx), str(recipe)
