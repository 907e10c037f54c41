"""All stored videos of one session, as a value that never changes.

Every method that changes something returns a new cache.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from .entry import MemoryEntry

DAY_S = 86_400


@dataclass(frozen=True)
class Forgotten:
    """An entry that was removed on purpose.

    The same content made again later, with a larger `created_s`, is a new entry.
    """

    entry_id: str
    created_s: float


@dataclass(frozen=True, eq=False)
class MemoryCache:
    """The entries, oldest first. Caches share entries, so branches and undo cost nothing.

    model_name: the model that made every entry; None while the cache is empty and open to any
    model.
    session: its name on disk; None when it lives in memory alone.
    set_aside: entries of the session that nodes further down the graph made and will keep or make
    again: nothing sees them before. They stay on disk.
    forgotten, changed_pins: what this cache changed in its session, so that storage can merge it
    with the changes of another writer.
    """

    model_name: str | None = None
    entries: tuple[MemoryEntry, ...] = ()
    session: str | None = None
    forgotten: tuple[Forgotten, ...] = ()
    changed_pins: frozenset[str] = frozenset()
    set_aside: tuple[MemoryEntry, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def latent_shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) shared by all entries; None while the cache is empty.

        The number of latent frames may differ between entries.
        """
        return self.entries[0].latent_shape if self.entries else None

    @property
    def newest(self) -> MemoryEntry | None:
        """The entry appended last; None while the cache is empty."""
        return self.entries[-1] if self.entries else None

    @property
    def next_turn(self) -> int:
        """Number of the next turn, counted from 1."""
        held = (*self.entries, *self.set_aside)
        return max((entry.turn for entry in held), default=0) + 1

    def require_fit(self, model_name: str, latent_shape: tuple[int, int, int]) -> None:
        """Raise ValueError unless latents (C, H, W) of this model fit into this cache.

        An empty cache takes any.
        """
        require_same_model(self._label, self.model_name, model_name)
        require_same_latent(self._label, self.latent_shape, latent_shape)

    def append(self, entry: MemoryEntry) -> "MemoryCache":
        """This cache with the entry after all others; the same cache if it holds this content.

        Raises: ValueError for another model, another latent size, latents that are not finite, and
        files that cannot be read.
        """
        self.require_fit(entry.model_name, entry.latent_shape)
        entry.content.require_sound(entry.label)
        # Without a loop of Python: a bank of a thousand turns is searched at every turn.
        if entry.entry_id in map(attrgetter("entry_id"), self.entries):
            return self
        # An entry that was forgotten and made again is wanted again.
        forgotten = tuple(old for old in self.forgotten if old.entry_id != entry.entry_id)
        return replace(
            self, model_name=entry.model_name, entries=(*self.entries, entry), forgotten=forgotten
        )

    def setting_aside(self, makers: Collection[str]) -> "MemoryCache":
        """The cache without what these makers made, which `made_by` and `replacing` find."""
        aside = tuple(entry for entry in self.entries if entry.maker and entry.maker in makers)
        if not aside:
            return self
        seen = tuple(entry for entry in self.entries if entry.maker not in makers)
        return replace(self, entries=seen, set_aside=(*self.set_aside, *aside))

    @property
    def whole(self) -> "MemoryCache":
        """The cache with what was set aside in its place again."""
        if not self.set_aside:
            return self
        entries = sorted((*self.entries, *self.set_aside), key=attrgetter("created_s"))
        return replace(self, entries=tuple(entries), set_aside=())

    def made_by(self, maker: str) -> tuple[MemoryEntry, ...]:
        """What this maker made earlier, set aside or not; nothing for the empty name."""
        held = (*self.set_aside, *self.entries)
        return tuple(entry for entry in held if maker and entry.maker == maker)

    def replacing(self, entry: MemoryEntry) -> "MemoryCache":
        """`append` in place of everything that the entry's maker made before.

        Saving the cache removes the replaced entries from their session on disk.

        Raises: ValueError as `append` does.
        """
        # Appended first: what cannot be stored replaces nothing.
        grown = self.append(entry)
        replaced = [old for old in self.made_by(entry.maker) if old.entry_id != entry.entry_id]
        gone = tuple(Forgotten(old.entry_id, old.created_s) for old in replaced)
        ids = {old.entry_id for old in replaced}
        return replace(
            grown,
            entries=tuple(held for held in grown.entries if held.entry_id not in ids),
            set_aside=tuple(
                held for held in self.set_aside if held.entry_id not in {*ids, entry.entry_id}
            ),
            forgotten=(*grown.forgotten, *gone),
        )

    def get(self, entry_id: str) -> MemoryEntry:
        """The entry with this id, or with this unique beginning of an id.

        Raises: ValueError when none or several match.
        """
        return self.entries[self._idx_of(entry_id)]

    def of_turn(self, turn: int) -> MemoryEntry:
        """The entry with this turn number, counted from 1.

        Raises: ValueError when none has it, or when several have it because two graphs continued
        from the same turn.
        """
        matches = [entry for entry in self.entries if entry.turn == turn]
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(entry.entry_id[:8] for entry in matches)
            raise ValueError(
                f"turn {turn} got {len(matches)} entries in {self._label}, wanted one; use the id "
                f"of {ids}"
            )
        remedy = "use one of these" if self.entries else "make a turn, or check the session's name"
        raise ValueError(
            f"turn {turn} is not in {self._label}, which holds {self._listed()}; {remedy}"
        )

    def recall(self, turn: int, entry_id: str) -> MemoryEntry:
        """The entry with this id, else with this turn number, else (turn 0, no id) the newest.

        What was set aside counts too: whoever asks for a turn wants it as it is on disk.

        Raises: ValueError when there is none, when several match, and when id and number name
        different turns.
        """
        if self.set_aside:
            return self.whole.recall(turn, entry_id)
        if entry_id:
            found = self.get(entry_id)
            # Both are given, so both must name the same turn.
            if turn not in (0, found.turn):
                raise ValueError(
                    f"turn got {turn}, wanted {found.turn}, the number of entry {entry_id!r}, or "
                    "0; set one of them"
                )
            return found
        if turn:
            return self.of_turn(turn)
        if self.newest is None:
            raise ValueError(
                f"{self._label} holds no turn, wanted at least one to recall; check the session's "
                "name in Memory Cache"
            )
        return self.newest

    def describe(self, notes: Sequence[str] = ()) -> str:
        """One line per turn, oldest first, then the notes."""
        name = f"session {self.session!r}" if self.session else "cache in the graph"
        made_by = f" of {self.model_name}" if self.model_name else ""
        whole = self.whole
        lines = [entry.describe() for entry in whole.entries]
        if self.set_aside:
            numbers = ", ".join(str(entry.turn) for entry in self.set_aside)
            lines.append(f"nodes of this graph keep or replace turns {numbers}")
        return "\n".join((f"{name}: {len(whole)} turns{made_by}", *lines, *notes))

    def pin(self, entry_id: str, is_pinned: bool = True) -> "MemoryCache":
        """The cache with this entry pinned (always retrieved) or not pinned."""
        idx = self._idx_of(entry_id)
        entry = self.entries[idx]
        # The same cache back, so that nothing is saved for nothing.
        if entry.is_pinned == is_pinned:
            return self
        entries = self._entries_with(idx, replace(entry, is_pinned=is_pinned))
        return replace(self, entries=entries, changed_pins=self.changed_pins | {entry.entry_id})

    def with_content_of(self, entry: MemoryEntry) -> "MemoryCache":
        """The cache with this entry in the place of the one with its id.

        For an entry that holds more than before (`MemoryEntry.beside`).

        Raises: ValueError for an id that is not here, and for numbers that are not finite.
        """
        entry.content.require_sound(entry.label)
        idx = self._idx_of(entry.entry_id)
        held = replace(self.entries[idx], content=entry.content)
        return replace(self, entries=self._entries_with(idx, held))

    def forget(self, entry_id: str) -> "MemoryCache":
        """The cache without this entry, pinned or not.

        Saving the cache removes the entry from its session on disk.
        """
        entry = self.get(entry_id)
        entries = tuple(held for held in self.entries if held is not entry)
        return replace(
            self,
            model_name=self.model_name if entries else None,
            entries=entries,
            forgotten=(*self.forgotten, Forgotten(entry.entry_id, entry.created_s)),
            changed_pins=self.changed_pins - {entry.entry_id},
        )

    def expire(self, days: float, now_s: float) -> "MemoryCache":
        """The cache without turns that were made more than `days` days ago; pinned turns stay.

        now_s: seconds since 1970, as `created_s`.

        Raises: ValueError for days that are not above 0.
        """
        if not days > 0:
            raise ValueError(f"expire_days got {days:g}, wanted more than 0; 0 keeps every turn")
        cache = self
        for entry in self.entries:
            if not entry.is_pinned and now_s - entry.created_s > days * DAY_S:
                cache = cache.forget(entry.entry_id)
        return cache

    def branch(self, entry_id: str, session: str | None = None) -> "MemoryCache":
        """The cache as it was after this entry, to continue from there.

        It leaves the old session: a save there would merge it with the later turns. `session` names
        a new session; None keeps the branch in memory alone.
        """
        entries = self.entries[: self._idx_of(entry_id) + 1]
        return MemoryCache(model_name=self.model_name, entries=entries, session=session)

    @property
    def _label(self) -> str:
        return "the cache" if self.session is None else f"the cache of session {self.session!r}"

    def _entries_with(self, idx: int, entry: MemoryEntry) -> tuple[MemoryEntry, ...]:
        """The entries with another one at this place."""
        return (*self.entries[:idx], entry, *self.entries[idx + 1 :])

    def _idx_of(self, entry_id: str) -> int:
        # An empty text begins every id, so it matches none here.
        matches = [
            i
            for i, entry in enumerate(self.entries)
            if entry_id and entry.entry_id.startswith(entry_id)
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(self.entries[i].entry_id for i in matches)
            raise ValueError(
                f"entry id {entry_id!r} got {len(matches)} entries, wanted one of {ids}; write "
                "more of it"
            )
        raise ValueError(
            f"entry id {entry_id!r} is not in {self._label}, which holds {self._listed()}; use one "
            "of these"
        )

    def _listed(self) -> str:
        return (
            ", ".join(f"{entry.entry_id[:8]} (turn {entry.turn})" for entry in self.entries)
            or "none, it is empty"
        )


def require_same_model(label: str, held: str | None, offered: str) -> None:
    """Raise ValueError unless `label` holds latents of the model `offered`, or no latents."""
    if held is not None and held != offered:
        raise ValueError(
            f"{label} holds latents of model {held!r}, got one of {offered!r}; "
            f"load {held!r}, or start a new cache for {offered!r}"
        )


def require_same_latent(
    label: str, held: tuple[int, int, int] | None, offered: tuple[int, int, int]
) -> None:
    """Raise ValueError unless the latent sizes (C, H, W) agree, or `label` holds none."""
    if held is not None and tuple(held) != tuple(offered):
        raise ValueError(
            f"{label} holds latents of {_size(held)}, got one of {_size(offered)}; "
            "edit at the size and with the VAE of the earlier turns, or start a new cache"
        )


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{channels} channels, {height}x{width} (height x width)"


def preferred(entries: Sequence[MemoryEntry]) -> MemoryEntry | None:
    """The entry that stands for several takes of one thing: the newest pinned one, else the newest.

    entries: oldest first; the result is None when there are none.
    """
    pinned = [entry for entry in entries if entry.is_pinned]
    return next(reversed(pinned or entries), None)
