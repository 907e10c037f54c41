"""How long a run still takes, from what it took so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# An estimate from fewer steps would mostly count how long the model takes to load.
_LEAST_STEPS = 2


class Estimate(NamedTuple):
    """seconds_left: until the last piece ends. seconds_each: of one piece.

    based_on: the pieces that this run made, or the steps of its first one.
    """

    seconds_left: float
    seconds_each: float
    based_on: Literal["pieces", "steps"]


@dataclass(eq=False)
class Pace:
    """The times of one run.

    clock: seconds, as `time.monotonic`.
    Pieces that were kept take no time, so they are not counted. What is still to come is taken as
    new: whether it is kept is known only when it is its turn.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    made: list[float] = field(default_factory=list)
    num_finished: int = 0
    _began: float = 0.0
    _first_step: tuple[float, float] | None = None
    _progress: float = 0.0

    def start(self) -> None:
        """A piece is begun."""
        self._began, self._first_step, self._progress = self.clock(), None, 0.0

    def advance(self, step: int, steps: int) -> None:
        """So many of the steps of this piece are done, from 1 on."""
        self._progress = step / steps
        if self._first_step is None:
            self._first_step = self.clock(), self._progress

    def finish(self, is_new: bool) -> float:
        """The piece is finished; the seconds that it took."""
        seconds = self.clock() - self._began if is_new else 0.0
        if is_new:
            self.made.append(seconds)
        self.num_finished += 1
        self._progress, self._first_step = 0.0, None
        return seconds

    def estimate(self) -> Estimate | None:
        """None until something is known."""
        remaining = self.total - self.num_finished
        if self.made:
            each = sum(self.made) / len(self.made)
            left = each * max(remaining - self._progress, 0)
            return Estimate(left, each, "pieces")
        if self._first_step is None:
            return None
        # The time before the first step, such as loading the model, is paid once.
        first_s, first = self._first_step
        if self._progress < first * _LEAST_STEPS:
            return None
        each = (self.clock() - first_s) / (self._progress - first)
        return Estimate(each * max(remaining - self._progress, 0), each, "steps")
