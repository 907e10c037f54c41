"""Verdicts in plain words: do two videos show the same thing where both look at the same place?

F frames, H rows, W columns. Videos are (F, 3, H, W) in [0, 1].
"""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ..cameras.projection import SHARED_CENTRE_TOLERANCE, seen_mask
from ..cameras.trajectory import CameraTrajectory
from .metrics.consistency import Disagreement, centre_distance, turn_disagreement
from .session_report import ShownTurn

# Our choice: the built-in model reaches 0.039 with memory and 0.147 without (docs/evaluation.md).
AGREE_AT_MOST, DIFFER_FROM = 0.06, 0.1
# The name of a turn: its number, and the beginning of its id where it has several takes.
_TURN = re.compile(r"turn (\d+(?: \([0-9a-f]+\))?)")
# Rows and columns at which views are tested for a shared place.
_COARSE = 32


@dataclass(frozen=True, eq=False)
class Verdict:
    """What is said of two videos.

    text: one plain sentence without its full stop.
    disagreement: the numbers; None where nothing could be measured.
    note: what the measurement left out; "" for nothing.
    """

    text: str
    disagreement: Disagreement | None = None
    note: str = ""


def compare_pair(
    first: ShownTurn, second: ShownTurn, source_camera: CameraTrajectory | None = None
) -> Verdict:
    """Whether two videos agree at equal frames, over the frames that both have.

    source_camera: only pixels outside all its frames count, because both videos copy the rest.
    None compares all that both show.

    Raises: ValueError for sizes that differ.
    """
    pair, num_frames = (
        named_pair(first.name, second.name),
        min(len(first.frames), len(second.frames)),
    )
    (video_a, camera_a), (video_b, camera_b) = first.first(num_frames), second.first(num_frames)
    # Step 1: without depth a view is warped exactly only to a camera at the same place.
    apart = (camera_a.c2w[:, :3, 3] - camera_b.c2w[:, :3, 3]).norm(dim=-1)
    if float(apart.max()) > SHARED_CENTRE_TOLERANCE:
        frame = int(apart.argmax()) + 1
        return Verdict(
            f"{pair} cannot be measured: their cameras stand {float(apart.max()):.3g} pose units "
            f"apart in frame {frame}, and depth is not known"
        )
    if not torch.equal(camera_a.moments(), camera_b.moments()):
        return Verdict(f"{pair} cannot be measured: they play the source in different ways")
    # Step 2: what the source never saw, where that can be known.
    note = ""
    if source_camera is not None:
        moved = centre_distance(camera_b, source_camera)
        if moved > SHARED_CENTRE_TOLERANCE:
            source_camera, note = (
                None,
                (
                    f"{pair}: the camera leaves the source's place, so what the source showed is "
                    "compared too"
                ),
            )
    result = turn_disagreement(video_a, camera_a, video_b, camera_b, source_camera)
    # Step 3: the sentence.
    if result.num_pixels == 0:
        return Verdict(f"{pair} {_why_nothing(camera_a, camera_b, source_camera is not None)}")
    share = result.num_pixels / result.mask.numel()
    shown = "under 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")
    return Verdict(f"{pair} {_judged(result.mae)}, over {shown} of the picture", result, note)


def named_pair(first: str, second: str) -> str:
    """ "turns 1 and 3" of "turn 1" and "turn 3"; other names are joined as they are."""
    turns = [_TURN.fullmatch(name) for name in (first, second)]
    numbers = [turn[1] for turn in turns if turn is not None]
    if len(numbers) == 2:
        return f"turns {' and '.join(numbers)}"
    return f"{first} and {second}"


def compare_all(
    turns: Sequence[ShownTurn],
    source_camera: CameraTrajectory | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> list[Verdict]:
    """The verdict of every pair of turns.

    before_each: called before every comparison, so that a user can stop it.

    Raises: ValueError for sizes that differ.
    """
    verdicts = []
    for first, second in itertools.combinations(turns, 2):
        before_each()
        verdicts.append(compare_pair(first, second, source_camera))
    return verdicts


def thinned(turn: ShownTurn, stride: int) -> ShownTurn:
    """The turn with every `stride`-th frame, from the first one on, copied."""
    kept = tuple(range(0, len(turn.frames), stride))
    # A path without times counts its frames from 0, which a path with fewer frames would not.
    camera = replace(turn.camera.frames(kept), times=turn.camera.moments()[list(kept)])
    return ShownTurn(turn.name, turn.frames[::stride].clone(), camera)


def stride_for(num_frames: int, most: int) -> int:
    """The smallest stride that leaves at most `most` of the frames."""
    return max(1, math.ceil(num_frames / most))


def _judged(mae: float) -> str:
    if mae <= AGREE_AT_MOST:
        return f"agree: {mae:.3f}"
    return f"agree in part: {mae:.3f}" if mae < DIFFER_FROM else f"differ: {mae:.3f}"


def _why_nothing(first: CameraTrajectory, second: CameraTrajectory, leaves_out_source: bool) -> str:
    """Why no pixel was compared."""
    if not seen_mask(second, first, _COARSE, _COARSE).any():
        return "never look at the same place"
    if leaves_out_source and _meet_at_one_moment(first, second):
        return "look at the same place only where the source looked too, which is not measured"
    return "look at the same place only at different moments, which is not measured"


def _meet_at_one_moment(first: CameraTrajectory, second: CameraTrajectory) -> bool:
    """Whether any frame of one path sees something of the same frame of the other."""
    return any(
        bool(seen_mask(second.frames((i,)), first.frames((i,)), _COARSE, _COARSE).any())
        for i in range(second.num_frames)
    )
