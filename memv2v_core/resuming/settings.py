"""What a user asks of a run that resumes: how memories are shown, and what is made again."""

import re
from dataclasses import dataclass

from ..bases.base_info import BaseInfo
from ..tokens.reuse import AUTOMATIC, ReuseConfig
from ..vocabulary import KeptPrecision, MemoryRange, UnresponsiveChoice


@dataclass(frozen=True)
class TokenSettings:
    """How a unit sees its memories.

    unresponsive, memory_range, memory_frames: see `plan_tokens`.
    refresh_every, kept_precision: see `ReuseConfig`.
    """

    unresponsive: UnresponsiveChoice = "automatic"
    memory_range: MemoryRange = "own"
    memory_frames: int = 0
    refresh_every: int = AUTOMATIC
    kept_precision: KeptPrecision = "full"

    @property
    def reuse(self) -> ReuseConfig:
        """How clean tokens are reused.

        Raises: ValueError for a negative number.
        """
        return ReuseConfig(self.refresh_every, self.kept_precision)

    def token_parts(self, base: BaseInfo) -> tuple[object, ...]:
        """Everything that decides how the model sees memories, as plain values."""
        unresponsive = self.unresponsive
        # "automatic" counts as its meaning here: choosing that value by name makes nothing again.
        if unresponsive == "automatic":
            unresponsive = "keep" if base.mode == "training-free" else "merge"
        # Whole videos, the only choice of older versions, are not named: their sessions stay valid.
        frames = (self.memory_frames,) if self.memory_frames else ()
        # Reuse counts by what it means here too, and its default is not named.
        measured, is_constant = base.refresh_every, base.has_constant_clean_tokens
        every, automatic = (
            reuse.calls_between(measured, is_constant) for reuse in (self.reuse, ReuseConfig())
        )
        is_usual = every == automatic and (every == 1 or self.kept_precision == "full")
        reuse = () if is_usual else ("reuse", every, self.kept_precision)
        return unresponsive, self.memory_range, *frames, *reuse


@dataclass(frozen=True)
class RedoSettings:
    """Units (from 0) to make again with new noise.

    seed: of the new noise. redoes_stale: whether units that saw the old results are made again
    too.
    """

    units: frozenset[int] = frozenset()
    seed: int = 1
    redoes_stale: bool = False


def parse_units(text: str, num_units: int, what: str) -> frozenset[int]:
    """Indices from 0 of the units that `text` names by numbers from 1, as in "2, 5".

    what: the units in words, for the error.

    Raises: ValueError for words that are not numbers and for units that the run does not have.
    """
    words = [word for word in re.split(r"[,;\s]+", text) if word]
    wrong = [word for word in words if not word.isdecimal() or not 1 <= int(word) <= num_units]
    if wrong:
        raise ValueError(
            f"redo got {', '.join(map(repr, wrong))}, wanted numbers from 1 to {num_units}, the "
            f"{what}, as in '2, 5'; leave it empty to redo none"
        )
    return frozenset(int(word) - 1 for word in words)
