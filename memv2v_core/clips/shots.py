"""Where a video cuts from one shot to the next.

A frame that changes far more than its neighbours is a suspect. A suspect is a cut unless the old
picture soon returns. F frames, C channels, H rows, W columns.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .frame_changes import WINDOW, ChangePeaks, mean_difference, small_pictures
from .segments import Span

# A cut differs from the frame before this many times more than its neighbours do.
_ADAPTIVE_THRESHOLD = 3.0
# The least difference of a cut, of 255.
_MIN_CONTENT = 10.0
# A frame whose difference to the picture before the change is below this share of the change shows
# that picture again: the change was a flash.
_FLASH_RATIO = 0.3


@dataclass(frozen=True)
class ShotConfig:
    """How readily a change counts as a cut.

    sensitivity: 0 finds only hard cuts between unlike shots; 1 also takes jerks of the camera for
    cuts.
    min_num_frames: length of the shortest shot. A change that returns to the old picture sooner is
    a flash, not a shot.

    Raises: ValueError for values outside their ranges.
    """

    sensitivity: float = 0.5
    min_num_frames: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.sensitivity <= 1:
            raise ValueError(
                f"sensitivity got {self.sensitivity}, wanted 0 to 1; 0.5 suits most videos"
            )
        if self.min_num_frames < 1:
            raise ValueError(
                f"min_num_frames got {self.min_num_frames}, wanted 1 or more frames; use 8"
            )


def detect_shots(
    frames: torch.Tensor | Iterable[torch.Tensor], config: ShotConfig | None = None
) -> tuple[Span, ...]:
    """(start, stop) of every shot, in order; together the shots hold every frame.

    frames: (F, 3, H, W) in 0..1, or chunks of such a video in order, of which only one is held.
    Hard cuts are found. Dissolves and fades are not found: they stay inside one shot.

    Raises: ValueError for a video without frames.
    """
    config = config or ShotConfig()
    # 0.5 keeps the thresholds; 0 doubles and 1 halves them.
    strictness = 4 ** (0.5 - config.sensitivity)
    peaks = ChangePeaks(_ADAPTIVE_THRESHOLD * strictness, _MIN_CONTENT * strictness)
    return shots_between(small_pictures(frames), peaks.add, config)


def shots_between(
    pictures: Iterable[np.ndarray],
    suspects_at: Callable[[np.ndarray], list[int]],
    config: ShotConfig,
) -> tuple[Span, ...]:
    """(start, stop) of every shot of these pictures, flashes left out.

    pictures: of one size, uint8.
    suspects_at: called with each picture in turn; the first frames of new shots or flashes that
    this picture shows, each at most `WINDOW` frames before it.

    Raises: ValueError for no pictures.
    """
    # The frames that a judgement can still need: one before the suspect, and all that follow it.
    held: deque[np.ndarray] = deque(maxlen=config.min_num_frames + WINDOW + 2)
    suspects: list[int] = []
    cuts: list[int] = []
    num_frames = 0
    for picture in pictures:
        suspects += suspects_at(picture)
        held.append(picture)
        num_frames += 1
        # Judged late enough that the end of a flash is also among the suspects.
        if suspects and suspects[0] + config.min_num_frames + WINDOW < num_frames:
            _judge(suspects, cuts, held, num_frames, config)
    # At the end of the video no later frame can come, so the rest is judged now.
    while suspects:
        _judge(suspects, cuts, held, num_frames, config)
    if num_frames == 0:
        raise ValueError(
            "frames got an empty video, wanted 1 frame or more; check the loader before this node"
        )
    # A shot that is too short at the end joins the shot before it.
    edges = [0, *(cut for cut in cuts if num_frames - cut >= config.min_num_frames), num_frames]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def _judge(
    suspects: list[int],
    cuts: list[int],
    pictures: Sequence[np.ndarray],
    num_frames: int,
    config: ShotConfig,
) -> None:
    """Move the first suspect to the cuts if it starts a shot; else drop it.

    A flash is dropped with all suspects that belong to it.
    """
    first, oldest = suspects.pop(0), num_frames - len(pictures)
    last = min(first + config.min_num_frames - 1, num_frames - 1)
    before = pictures[first - 1 - oldest]
    change = mean_difference(before, pictures[first - oldest])
    # Frames of the shortest shot that look like the picture before the change.
    returned = [
        frame
        for frame in range(first + 1, last + 1)
        if mean_difference(before, pictures[frame - oldest]) < _FLASH_RATIO * change
    ]
    if returned:
        suspects[:] = [suspect for suspect in suspects if suspect > returned[-1]]
    elif first - (cuts[-1] if cuts else 0) >= config.min_num_frames:
        cuts.append(first)
