"""A batch to learn from, in one form for all tasks."""

from dataclasses import dataclass

import torch

from ...bases.base_info import BaseInfo
from ...model.memory_inputs import MemoryInputs
from ...shapes import VaeRatios
from ...vocabulary import SourcePlacement
from ..config import CLEAN_TIMESTEP


@dataclass(frozen=True, eq=False)
class Example:
    """A batch: clean target latents (B, C, T, H, W) and the inputs beside them.

    source: latents on the channel axis of the target, for a task that has them.
    prompts: one per row, for a task that has them.
    weight: of each squared error, broadcast over the target; None is 1.
    named: (B, tokens), whether a token of the target shows the object that its prompt names.
    """

    target: torch.Tensor
    inputs: MemoryInputs
    source: torch.Tensor | None = None
    prompts: tuple[str, ...] | None = None
    weight: torch.Tensor | None = None
    named: torch.Tensor | None = None


def base_in_training(ratios: VaeRatios, source_placement: SourcePlacement) -> BaseInfo:
    """A built-in model in training, as memory sees it.

    ratios: the ratios of its codec.
    """
    return BaseInfo(
        "in training",
        "trained",
        ratios,
        text_width=None,
        clean_timestep=CLEAN_TIMESTEP,
        has_cameras=source_placement == "sequence",
        source_placement=source_placement,
    )
