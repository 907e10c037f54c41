"""Random draws that the examples of all tasks share."""

import torch

from ...tokens.merging import MAX_SHARE, MIN_SHARE


class Draws:
    """Draws from one generator, in the order of the calls."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def chance(self, probability: float) -> bool:
        """True with this probability, 0 to 1."""
        return self._uniform() < probability

    def frames(self, count: int, num_frames: int) -> tuple[int, ...]:
        """`count` of the frames 0 to num_frames - 1 in order, or all of them."""
        if count >= num_frames:
            return tuple(range(num_frames))
        return tuple(sorted(torch.randperm(num_frames, generator=self._generator)[:count].tolist()))

    def merge_share(self, probability: float) -> float | None:
        """A share of frames to merge from the paper's range; None for a step without merging.

        probability: of a step with merging, 0 to 1.
        """
        if not self.chance(probability):
            return None
        return MIN_SHARE + (MAX_SHARE - MIN_SHARE) * self._uniform()

    def _uniform(self) -> float:
        return torch.rand((), generator=self._generator).item()
