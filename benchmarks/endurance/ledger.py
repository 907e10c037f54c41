"""What a session must hold, by what its writers acknowledged, and the comparison with the disk."""

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attack.targets.sessions import entry_digest, make_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import LoadedSession, load_session

# Repairs of an unfinished save that lost nothing.
_HARMLESS = ("an unfinished write; the next save removes it", "added")


@dataclass
class Ledger:
    """The acknowledged state, and the one change that may or may not have happened.

    entries: number of each entry by its id. pinned: ids. forgotten: ids.
    doubtful: ids of the change that was begun and not acknowledged.
    """

    entries: dict[str, int] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)

    def apply(self, kind: str, entry_id: str, number: int) -> None:
        """Note an acknowledged change."""
        if kind == "append":
            self.entries[entry_id] = number
        elif kind == "forget":
            self.entries.pop(entry_id, None)
            self.pinned.discard(entry_id)
            self.forgotten.add(entry_id)
        elif kind == "pin":
            self.pinned.add(entry_id)
        else:
            self.pinned.discard(entry_id)

    def settle(self, cache: MemoryCache) -> None:
        """Take what the disk says about the doubtful change, which is decided from now on."""
        held = {entry.entry_id: entry for entry in cache.entries}
        for entry_id in self.doubtful:
            if entry_id in held:
                self.entries[entry_id] = held[entry_id].turn
                self.forgotten.discard(entry_id)
                (self.pinned.add if held[entry_id].is_pinned else self.pinned.discard)(entry_id)
            else:
                self.entries.pop(entry_id, None)
                self.pinned.discard(entry_id)
        self.doubtful = set()

    def problems(self, loaded: LoadedSession, is_quiet: bool) -> list[str]:
        """How the session on disk differs from what was acknowledged.

        is_quiet: whether any report at all is a problem; otherwise repairs that lost nothing are
        none.
        """
        held = {entry.entry_id: entry for entry in loaded.cache.entries}
        found = [
            f"turn {n} ({i[:8]}) is lost"
            for i, n in self.entries.items()
            if i not in held and i not in self.doubtful
        ]
        found += [
            f"{i[:8]} was forgotten and is back"
            for i in self.forgotten
            if i in held and i not in self.doubtful
        ]
        for entry_id, entry in held.items():
            if entry_id in self.entries:
                found += _differences(entry, self.entries[entry_id])
            if entry_id not in self.doubtful and entry.is_pinned != (entry_id in self.pinned):
                found.append(f"the pin of {entry_id[:8]} is {entry.is_pinned}")
        for text in (*loaded.skipped, *loaded.notices):
            if is_quiet or not any(words in text for words in _HARMLESS):
                found.append(f"reported: {text}")
        return found


def on_disk(folder: Path) -> LoadedSession:
    """The session, loaded anew."""
    return load_session(folder)


def _differences(entry: object, number: int) -> list[str]:
    try:
        is_equal = entry_digest(entry) == entry_digest(make_entry(number))
    except ValueError as error:
        return [f"turn {number} cannot be read: {error}"]
    return [] if is_equal else [f"turn {number} is not bit-equal"]
