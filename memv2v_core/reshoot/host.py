"""What the loop of a re-shoot needs from the program around it.

C channels, T latent frames, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from ..cache.entry import MemoryEntry
from ..resuming.host import RunHost
from ..resuming.outcomes import Outcome
from ..sampling.turn import Turn


@dataclass(frozen=True, eq=False)
class ReshotTurn:
    """A turn's entry, and where it comes from.

    number: from 1. name: of its camera path.
    memories: what it saw, in words.
    stale_for: why it is stale; "" where it is not. A new turn is stale where it saw a stale one.
    seconds: time that this run spent on it.
    """

    number: int
    name: str
    entry: MemoryEntry
    outcome: Outcome
    memories: str
    stale_for: str
    seconds: float


class Host(RunHost, Protocol):
    """The program around the loop."""

    def source(self) -> torch.Tensor:
        """The latent (C, T, H, W) of the clip, in the VAE's unnormalised space.

        The loop asks only where a turn has to be made.
        """
        ...

    def started(self, number: int, sees: Sequence[int]) -> None:
        """Turn `number` is about to be sampled; it sees the turns of these numbers, best first."""
        ...

    def compares(self, number: int) -> None:
        """Turn `number` is about to be sampled once more, without its memories."""
        ...

    def sample(self, turn: Turn, seed: int, shows_progress: bool) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn; see `sampling.sample.TurnSampler`."""
        ...

    def finished(self, reshot: ReshotTurn) -> None:
        """A turn is made and saved, or kept; the next one begins after this returns."""
        ...
