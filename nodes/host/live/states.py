"""What the page is told about each run, held so that a page that was loaded again gets it too."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ....memv2v_core.resuming.outcomes import Outcome

Unit = Literal["segment", "turn"]
RunState = Literal["running", "done", "stopped", "failed"]

# Runs of other nodes are rarely looked at again after so many.
_MOST_RUNS = 32


class Place(NamedTuple):
    """The node that runs.

    workflow: id of its workflow; None for a request without one. node: the node's id in the page,
    with the ids of the subgraphs around it, such as "5:3".
    """

    workflow: str | None
    node: str


@dataclass(frozen=True, eq=False)
class Tile:
    """A finished piece.

    number: from 1. loop: an animated WebP; None where the model has no preview colours.
    piece: a playable file in ComfyUI's temporary folder; None where the turn is not decoded.
    skip_s: seconds at its start that the piece before shows too.
    """

    number: int
    outcome: Outcome
    seconds: float
    loop: bytes | None = None
    piece: Path | None = None
    skip_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """As the page reads it; the loop has an address of its own."""
        return {
            "number": self.number,
            "outcome": self.outcome,
            "seconds": self.seconds,
            "has_loop": self.loop is not None,
            "piece": self.piece and self.piece.name,
            "skip_s": self.skip_s,
        }


@dataclass(eq=False)
class LiveState:
    """How far the last run of a node is.

    run: a new name for each run. total: number of pieces. is_saved: whether a finished piece is on
    disk. number: of the piece in progress, 0 before the first one. sees: numbers of its memories.
    is_comparison: whether that piece is made once more, without its memories. step, steps: of the
    sampler. seconds_left, seconds_each: see `Pace`. based_on: what the estimate
    is from.
    """

    place: Place
    run: str
    unit: Unit
    total: int
    is_saved: bool
    state: RunState = "running"
    number: int = 0
    sees: tuple[int, ...] = ()
    is_comparison: bool = False
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    seconds_each: float | None = None
    based_on: Literal["pieces", "steps"] | None = None
    tiles: dict[int, Tile] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As the page reads it, without the tiles."""
        names = ("run", "unit", "total", "is_saved", "state", "number", "sees", "is_comparison")
        estimate = ("step", "steps", "seconds_left", "seconds_each", "based_on")
        fields = {name: getattr(self, name) for name in (*names, *estimate)}
        return {**self.place._asdict(), **fields, "num_finished": len(self.tiles)}


@dataclass(eq=False)
class LiveStates:
    """The last run of each node, oldest first. Threads may use it at once."""

    _held: dict[Place, LiveState] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, state: LiveState) -> None:
        """Hold this run in place of the node's last one."""
        with self._lock:
            replaced = self._held.pop(state.place, None)
            self._held[state.place] = state
            dropped = [replaced] if replaced is not None else []
            if len(self._held) > _MOST_RUNS:
                dropped.append(self._held.pop(next(iter(self._held))))
        for old in dropped:
            _delete_pieces(old)

    def all(self) -> list[dict[str, Any]]:
        """Every run with its tiles, as the page reads them."""
        return [
            {**state.as_dict(), "tiles": [tile.as_dict() for tile in tuple(state.tiles.values())]}
            for state in self._states()
        ]

    def loop(self, run: str, number: int) -> bytes:
        """The animated WebP of a tile.

        Raises: FileNotFoundError where there is none.
        """
        for state in self._states():
            tile = state.tiles.get(number)
            if state.run == run and tile is not None and tile.loop is not None:
                return tile.loop
        raise FileNotFoundError(
            f"run {run!r} has no picture of number {number}; it was replaced by a newer run"
        )

    def _states(self) -> Iterator[LiveState]:
        with self._lock:
            return iter(tuple(self._held.values()))


def _delete_pieces(state: LiveState) -> None:
    for tile in state.tiles.values():
        if tile.piece is not None:
            try:
                tile.piece.unlink(missing_ok=True)
            # A player may hold the file; ComfyUI empties the folder when it starts.
            except OSError:
                continue


LIVE = LiveStates()
