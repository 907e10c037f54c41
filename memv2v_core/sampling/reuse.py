"""When clean tokens are refreshed, and when their kept keys and values serve again.

A call is one evaluation of the DiT; a sampler of second order makes two a step. A call either
refreshes (the whole sequence, whose clean keys and values are kept) or reuses (the target alone).
Our choice, beyond the paper: clean tokens change slowly between calls; docs/decisions.md says how
slowly. In one-way attention with timestep zero they do not change, and reuse is exact.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from ..model.kept_streams import DeviceShelf, KeptRows, KeptStreams, NotKeptError, Shelf
from ..model.memory_inputs import MemoryInputs
from ..model.memory_model import CleanTokens
from ..tokens.reuse import ReuseConfig
from ..vocabulary import KeptPrecision

# Tokens that no call wanted at this many noise levels in a row are dropped.
_IDLE_LEVELS = 3

# One forward: clean tokens or none, and where their keys and values are kept.
Forward = Callable[[CleanTokens, KeptRows | None], torch.Tensor]


@dataclass(frozen=True)
class Age:
    """How old kept tokens are before a call.

    calls: made since their refresh, the refresh included. kept_at, timestep: of the refresh and of
    the call, in [0, 1000].
    """

    calls: int
    kept_at: float
    timestep: float

    @property
    def is_of_another_pass(self) -> bool:
        """Whether noise has risen since: the sampler went back."""
        return self.timestep > self.kept_at


class Schedule(Protocol):
    """Decides whether kept tokens are too old."""

    def is_due(self, age: Age) -> bool:
        """Whether the call refreshes."""
        ...


@dataclass(frozen=True)
class EveryCalls:
    """A refresh in every `every`-th call; None refreshes once."""

    every: int | None

    def is_due(self, age: Age) -> bool:
        if self.every is None:
            return False
        return age.calls >= self.every or age.is_of_another_pass


@dataclass(frozen=True)
class EveryNoise:
    """A refresh whenever the timestep has fallen by `gap`, in (0, 1000]."""

    gap: float

    def is_due(self, age: Age) -> bool:
        return age.timestep <= age.kept_at - self.gap or age.is_of_another_pass


class Room(Protocol):
    """The memory for kept tensors."""

    def shelf(self, num_bytes: int, /) -> Shelf | None:
        """A place for so many bytes more; None where there is none."""
        ...


class AnyRoom:
    """A device that is taken to hold everything."""

    def shelf(self, _num_bytes: int, /) -> Shelf | None:
        return DeviceShelf()


@dataclass(frozen=True)
class Refresh:
    """One refresh.

    timestep: in [0, 1000]. change: relative change of the keys since the refresh before, a mean
    over the blocks whose tokens were the same; None for a first one.
    """

    timestep: float
    change: float | None


@dataclass(eq=False)
class ReuseReport:
    """What a run did; it grows with every call.

    most_bytes: of everything kept at one time. notes: why something was not kept.
    """

    precision: KeptPrecision = "full"
    num_reused: int = 0
    refreshes: list[Refresh] = field(default_factory=list)
    most_bytes: int = 0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def joined(cls, reports: "Sequence[ReuseReport]") -> "ReuseReport":
        """One report of several runs."""
        whole = cls(reports[0].precision if reports else "full")
        for report in reports:
            whole.num_reused += report.num_reused
            whole.refreshes += report.refreshes
            whole.most_bytes = max(whole.most_bytes, report.most_bytes)
            for text in report.notes:
                whole.note(text)
        return whole

    def note(self, text: str) -> None:
        """Say a thing once."""
        if text not in self.notes:
            self.notes.append(text)

    def describe(self) -> str:
        """What was refreshed, kept and changed, in words; "" where nothing could be reused."""
        lines = list(self.notes)
        num_calls = len(self.refreshes) + self.num_reused
        if self.num_reused:
            size = f"{self.most_bytes / 2**20:.0f} MiB"
            lines.insert(
                0,
                f"clean videos refreshed in {len(self.refreshes)} of {num_calls} calls of the "
                f"model; {size} kept" + (" in fp8" if self.precision == "fp8" else ""),
            )
        if changes := self.changes():
            told = ", ".join(f"{_share(change)} at {at}" for at, change in changes.items())
            lines.insert(1, f"their keys had changed by (timestep 0 to 1000): {told}")
        return "\n".join(lines)

    def changes(self) -> dict[int, float]:
        """Mean change at each timestep, over all prompts, windows and runs."""
        found: dict[int, list[float]] = {}
        for refresh in self.refreshes:
            if refresh.change is not None:
                found.setdefault(round(refresh.timestep), []).append(refresh.change)
        return {timestep: sum(values) / len(values) for timestep, values in found.items()}


def describe_reuse(reports: Sequence[ReuseReport]) -> tuple[str, ...]:
    """What all runs of a node did, as parts of its text; nothing where nothing could be reused."""
    text = ReuseReport.joined(reports).describe()
    return (text,) if text else ()


def _share(change: float) -> str:
    # Keys that are all zero, or that a model in half precision lost.
    return f"{change:.1%}" if math.isfinite(change) else "more than can be measured"


@dataclass(eq=False)
class _Slot:
    """What is kept for one prompt in one window.

    calls: since its refresh. level: the number of the noise level that last wanted it.
    """

    kept: KeptStreams
    kept_at: float
    calls: int
    level: int


@dataclass(eq=False)
class StreamReuse:
    """Clean keys and values between the calls of one run.

    schedule: when they are refreshed. is_constant: whether clean tokens never change; merging is
    then decided once.
    """

    schedule: Schedule
    precision: KeptPrecision = "full"
    is_constant: bool = False
    room: Room = field(default_factory=AnyRoom)
    report: ReuseReport = field(default_factory=ReuseReport)
    _slots: dict[Hashable, _Slot] = field(default_factory=dict)
    _level: int = 0
    _last_timestep: float | None = None
    _is_off: bool = False

    def __post_init__(self) -> None:
        self.report.precision = self.precision

    @property
    def num_bytes(self) -> int:
        """Bytes of everything kept now."""
        return sum(slot.kept.num_bytes for slot in self._slots.values())

    def call(
        self,
        forward: Forward,
        clean: CleanTokens,
        keys: Sequence[Hashable],
        timestep: torch.Tensor,
        num_bytes: int,
        is_shared: bool = False,
    ) -> torch.Tensor:
        """The result of one call, by a refresh or by reuse.

        keys: what the clean tokens of the rows belong to, one for each equal part of the batch.
        is_shared: whether all rows have the same clean tokens; there is one key then.
        timestep: (B,) or (B, T) in [0, 1000]. num_bytes: that one part keeps.
        """
        if self._is_off:
            return forward(clean, None)
        # The sampler's timestep is the largest one: a noise mask only lowers a frame's.
        now = float(timestep.max())
        self._begin(now)
        if self._is_off:
            return forward(clean, None)
        slots = [self._slots.get(key) for key in keys]
        found = [slot for slot in slots if slot is not None]
        fits = len(found) == len(slots) and not any(
            self.schedule.is_due(Age(slot.calls, slot.kept_at, now)) for slot in found
        )
        num_rows = timestep.shape[0]
        if fits:
            try:
                result = self._tried(forward, clean.target_alone, self._rows(found, num_rows))
            except NotKeptError:
                # Another patch skipped a block in the refresh and runs it now.
                return self._refreshed(forward, clean, keys, now, num_rows, num_bytes, is_shared)
            if result is None:
                return forward(clean, None)
            self.report.num_reused += 1
            for slot in found:
                slot.calls, slot.level = slot.calls + 1, self._level
            return result
        return self._refreshed(forward, clean, keys, now, num_rows, num_bytes, is_shared)

    def drop(self) -> None:
        """Forget everything that is kept, also where a forward still holds it."""
        for slot in self._slots.values():
            slot.kept.clear()
        self._slots.clear()

    def switch_off(self, reason: str) -> None:
        """Refresh in every call from here on, and say why."""
        self.drop()
        self._is_off = True
        self.report.note(f"clean videos are refreshed in every call of the model: {reason}")

    def _begin(self, timestep: float) -> None:
        if timestep != self._last_timestep:
            self._level, self._last_timestep = self._level + 1, timestep
        # Windows that moved on, and prompts that ended, leave their memory to others.
        idle = [key for key, slot in self._slots.items() if slot.level < self._level - _IDLE_LEVELS]
        for key in idle:
            del self._slots[key]
        if idle and not self.report.num_reused:
            self.switch_off("no call comes back to what was kept, as where context windows move")

    def _refreshed(
        self,
        forward: Forward,
        clean: CleanTokens,
        keys: Sequence[Hashable],
        timestep: float,
        num_rows: int,
        num_bytes: int,
        is_shared: bool,
    ) -> torch.Tensor:
        slots = self._renewed(keys, num_bytes, timestep, is_shared)
        rows = self._rows(slots, num_rows) if slots else None
        if rows is not None:
            rows.begin()
        result = self._tried(forward, clean, rows)
        if result is None:
            return forward(clean, None)
        if rows is not None and not self._is_off:
            self._settle(rows.parts, timestep)
        return result

    def _tried(
        self, forward: Forward, clean: CleanTokens, rows: KeptRows | None
    ) -> torch.Tensor | None:
        """The result, or None where memory ran out: without what was kept the call may still fit.

        The caller tries again: as long as the error is handled, its frames hold their tensors.
        """
        try:
            return forward(clean, rows)
        except torch.OutOfMemoryError:
            if rows is None and not self.num_bytes:
                raise
            self.switch_off("memory ran out while their keys and values were kept")
        return None

    def _settle(self, parts: Sequence[KeptStreams], timestep: float) -> None:
        changes = [change for part in parts for change in part.changes]
        change = float(torch.stack(changes).mean()) if changes else None
        self.report.refreshes.append(Refresh(timestep, change))
        self.report.most_bytes = max(self.report.most_bytes, self.num_bytes)

    def _renewed(
        self, keys: Sequence[Hashable], num_bytes: int, timestep: float, is_shared: bool
    ) -> list[_Slot]:
        """The slots of `keys` at the start of a refresh; none where nothing may be kept."""
        new = [key for key in keys if key not in self._slots]
        shelf = self.room.shelf(len(new) * num_bytes) if new else None
        if new and shelf is None:
            size = f"{len(new) * num_bytes / 2**30:.2f} GiB"
            self.switch_off(f"{size} of their keys and values do not fit into memory")
            return []
        for key in new:
            assert shelf is not None, "there is room"
            kept = KeptStreams(shelf, self.precision, is_shared, fixes_merging=self.is_constant)
            self._slots[key] = _Slot(kept, timestep, 0, self._level)
        slots = [self._slots[key] for key in keys]
        for slot in slots:
            slot.kept_at, slot.calls, slot.level = timestep, 1, self._level
        return slots

    def _rows(self, slots: Sequence[_Slot], num_rows: int) -> KeptRows:
        return KeptRows(
            [slot.kept for slot in slots],
            num_rows,
            on_failure=lambda: self.switch_off("memory ran out for their keys and values"),
        )


def stream_reuse(
    config: ReuseConfig, inputs: MemoryInputs, measured: int, room: Room | None = None
) -> StreamReuse | None:
    """Reuse for one run with `inputs`; None where every call refreshes.

    measured: calls between two refreshes that were measured to be harmless for this base.
    """
    is_constant = inputs.has_constant_clean_tokens
    every = config.calls_between(measured, is_constant)
    if every == 1 or not inputs.streams:
        return None
    return StreamReuse(EveryCalls(every), config.precision, is_constant, room or AnyRoom())
