"""A batch to learn from, in one form for all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch

from ...model.memory_inputs import MemoryInputs
from .rows import Rows


@dataclass(frozen=True, eq=False)
class Example:
    """A batch: clean target latents (B, C, T, H, W) in the DiT's space, and the inputs beside them.

    source: latents on the channel axis of the target, for a task that has them.
    prompts: one per row, for a model that is trained with its text encoder.
    context: (B, L, text width), for a base whose prompts were encoded before.
    weight: of each squared error, broadcast over the target; None is 1.
    named: (B, tokens), whether a token of the target shows the object that its prompt names.
    """

    target: torch.Tensor
    inputs: MemoryInputs
    source: torch.Tensor | None = None
    prompts: tuple[str, ...] | None = None
    context: torch.Tensor | None = None
    weight: torch.Tensor | None = None
    named: torch.Tensor | None = None

    def to(self, device: torch.device) -> "Example":
        """The same batch on a device."""

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return replace(
            self,
            target=self.target.to(device, non_blocking=True),
            inputs=self.inputs.to(device),
            source=moved(self.source),
            context=moved(self.context),
            weight=moved(self.weight),
            named=moved(self.named),
        )


Structure = TypeVar("Structure")


class Examples(Protocol[Structure]):
    """Endless examples of one task.

    All rows of a step share a structure (number of memories, kernels, frames, merging), because
    the rows of a batch share a token layout.
    """

    @property
    def has_held_out(self) -> bool:
        """Whether there is data that training never sees."""
        ...

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> Structure:
        """The structure of a step, the same for all its rows and processes.

        is_whole: whether the step shows whole clips.
        """
        ...

    def draw(self, structure: Structure, rows: Rows, is_held_out: bool = False) -> Example:
        """One example of this structure, on the training device.

        rows: a generator a row; the row depends on nothing else.
        is_held_out: whether it comes from data that training never sees.
        """
        ...


class CodecVideos(Protocol):
    """Videos for training a codec."""

    def videos(self, step: int, generators: Sequence[torch.Generator]) -> torch.Tensor:
        """One video a generator, (B, 3, F, H, W) in [-1, 1]."""
        ...
