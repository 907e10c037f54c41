"""Playback: which moment of the source each frame of a camera path shows.

The patterns are SpaceTimePilot's, for videos of any length. Its own numbers are for 81 frames; here
they are shares of the last frame's number.
Source: get_time_pattern of single_video_test.py, ZheningHuang/spacetimepilot.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from .trajectory import CameraTrajectory

FREEZE = "freeze"


def _there_and_back(start: int, turn: int, end: int) -> list[int]:
    """Moments from `start` up to `turn` and down to `end`; the turn is shown twice."""
    return [*range(start, turn + 1), *range(turn, end - 1, -1)]


def _share(last: int, twentieths: int) -> int:
    """The frame at so many twentieths of the way to the last one; halves are rounded up."""
    return (last * twentieths + 10) // 20


# Moments of a video whose last frame is `last`, at least last + 1 of them.
_PATTERNS: dict[str, Callable[[int], list[int]]] = {
    "forward": lambda last: list(range(last + 1)),
    "reverse": lambda last: list(range(last, -1, -1)),
    # From the middle to the end and back.
    "pingpong": lambda last: _there_and_back(last // 2, last, last // 2),
    # Both bounces turn a twentieth behind the last frame.
    "bounce_early": lambda last: _there_and_back(
        _share(last, 5), _share(last, 21), _share(last, 15)
    ),
    "bounce_late": lambda last: _there_and_back(
        _share(last, 15), _share(last, 21), _share(last, 5)
    ),
    # Half of the source at half speed.
    "slowmo_first_half": lambda last: [(i + 1) // 2 for i in range(last + 1)],
    "slowmo_second_half": lambda last: [last // 2 + (i + 1) // 2 for i in range(last + 1)],
    "ramp_then_freeze": lambda last: [min(i, last // 2) for i in range(last + 1)],
}
PLAYBACKS = (*_PATTERNS, FREEZE)


def playback_times(pattern: str, num_frames: int, freeze_frame: int = 0) -> torch.Tensor:
    """The moment of every frame, (F,) float64, in pixel frames of a source of `num_frames`.

    pattern: one of `PLAYBACKS`. freeze_frame: the moment of "freeze", from 0.

    Raises: ValueError for another pattern, and for a moment that the source does not have.
    """
    if pattern == FREEZE:
        if not 0 <= freeze_frame < num_frames:
            raise ValueError(
                f"freeze_frame got {freeze_frame}, wanted 0 to {num_frames - 1}, the frames of the "
                "path; choose one of them"
            )
        return torch.full((num_frames,), float(freeze_frame), dtype=torch.float64)
    if pattern not in _PATTERNS:
        raise ValueError(f"pattern got {pattern!r}, wanted one of {', '.join(PLAYBACKS)}")
    moments = _PATTERNS[pattern](num_frames - 1)[:num_frames]
    return torch.tensor(moments, dtype=torch.float64)


def with_playback(
    trajectory: CameraTrajectory, pattern: str, freeze_frame: int = 0
) -> CameraTrajectory:
    """The path with its moments of a source of the same length; see `playback_times`."""
    times = playback_times(pattern, trajectory.num_frames, freeze_frame)
    return replace(trajectory, times=times)


def playback_summary(times: torch.Tensor) -> str:
    """Moments (F,) in words: the first, every turning point and the last."""
    if bool((times == times[0]).all()):
        return f"shows moment {times[0].item():g} of the source in every frame"
    steps = times.diff().sign()
    moving = steps.nonzero().flatten().tolist()
    # A frame turns where the step before it and the next step that moves have other signs.
    turns = [
        later
        for earlier, later in zip(moving, moving[1:], strict=False)
        if steps[earlier] != steps[later]
    ]
    shown = [times[0], *(times[i] for i in turns), times[-1]]
    return f"shows moments {' to '.join(f'{moment.item():g}' for moment in shown)} of the source"
