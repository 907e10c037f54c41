"""What the loop needs from the program around it: ComfyUI behind the nodes, a test, an evaluation.

F frames, C channels, T latent frames, H rows, W columns.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from ..cache.entry import MemoryEntry, Segment
from ..resuming.host import RunHost
from ..resuming.outcomes import Outcome
from ..retrieval.descriptors import Descriptor
from ..sampling.turn import Turn


@dataclass(frozen=True, eq=False)
class SegmentSource:
    """A segment as the model sees it.

    frames: (F, 3, H, W) in [0, 1]; the last one is held until the VAE takes the count.
    digest: hash of the source's own frames in 8 bits and of how they were fitted; it is the same on
    every day and device.
    """

    segment: Segment
    frames: torch.Tensor
    digest: str = ""

    @property
    def true_frames(self) -> torch.Tensor:
        """The frames without the held ones."""
        return self.frames[: self.segment.num_frames]


class Host(RunHost, Protocol):
    """The program around the loop."""

    def read(self, segment: Segment) -> SegmentSource:
        """The segment's source frames. The loop asks for segments in the order of the video."""
        ...

    def descriptor(self) -> Descriptor:
        """The extractor that compares sources.

        The loop asks once, when it describes the first segment.

        Raises: ValueError naming files that are missing.
        """
        ...

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """The latent (C, T, H, W) of frames (F, 3, H, W), in the VAE's unnormalised space."""
        ...

    def started(self, segment: Segment, sees: tuple[int, ...]) -> None:
        """A segment is about to be sampled.

        sees: numbers, from 1, of the segments that it sees, best first.
        """
        ...

    def finished(self, entry: MemoryEntry, outcome: Outcome) -> None:
        """A segment has its entry, which is saved. Every segment comes once, in their order."""
        ...

    def sample(self, turn: Turn, seed: int, segment: Segment, shows_progress: bool) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn; see `sampling.sample.TurnSampler`."""
        ...
