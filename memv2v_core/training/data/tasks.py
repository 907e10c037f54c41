"""The examples of each task, in the form that the trainer needs."""

from typing import Protocol

import torch

from ...builtin.codec import Codec
from ..config import TrainConfig
from .example import Example
from .novel_view import NovelViewExamples
from .own_memories import Editor
from .text_edit import TextEditExamples


class Examples(Protocol):
    """Endless examples of one task."""

    def draw(self, all_frames: bool, batch_size: int, codec: Codec) -> Example:
        """The next batch, with whole clips or some frames of each."""
        ...

    def videos(self, count: int) -> torch.Tensor:
        """Videos (count, 3, F, H, W) in [-1, 1] for training a codec."""
        ...


def examples_of(
    config: TrainConfig, generator: torch.Generator, editor: Editor | None = None
) -> Examples:
    """The examples of the task that `config` names.

    editor: the model in training, for tasks that learn from its own results.

    Raises: ValueError for an unknown task.
    """
    if config.task == "novel_view":
        return NovelViewExamples(config.data, generator)
    if config.task == "text_edit":
        return TextEditExamples(config.edits, generator, editor)
    raise ValueError(
        f"task got {config.task!r}, wanted novel_view or text_edit; correct the configuration"
    )
