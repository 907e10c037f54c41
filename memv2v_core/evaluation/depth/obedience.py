"""Camera obedience: which path a generated clip shows, against the path that was asked for.

The true scene is rendered along variants of the asked path, whose rotation and translation are
stretched. The variant that fits the clip best tells how far the clip turned and moved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.geometry import axis_angle_to_rotation_matrix, rotation_matrix_to_axis_angle

from ...cameras.trajectory import CameraTrajectory
from ...synthetic.solids.filming import FilmedSolids, film_solids
from ...synthetic.solids.scene import SolidScene
from ..result import Measures

TURN_SHARES = (0.7, 0.85, 1.0, 1.15, 1.3)
MOVE_SHARES = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
# Variants are compared at this size: fine enough, and quick.
SIZE = 64
# Paths that move less, in pose units, tell nothing about translation.
LEAST_MOVE = 0.2


@dataclass(frozen=True)
class ShownPath:
    """Shares of the asked rotation and translation that fit a clip best; 1 and 1 obey."""

    turn: float
    move: float


def shown_paths(
    scene: SolidScene, view: FilmedSolids, clips: Sequence[torch.Tensor], mask: torch.Tensor
) -> tuple[ShownPath, ...]:
    """The stretched path that fits each clip (F, 3, H, W) best.

    view: the true view along the asked path. mask: (F, 1, H, W), the pixels that count: where the
    source told what is there.
    """
    small = [F.interpolate(clip, (SIZE, SIZE), mode="area") for clip in clips]
    weight = F.interpolate(mask.float(), (SIZE, SIZE), mode="area")
    errors = torch.empty(len(clips), len(TURN_SHARES), len(MOVE_SHARES))
    for i, turn in enumerate(TURN_SHARES):
        for j, move in enumerate(MOVE_SHARES):
            path = stretched(view.path, turn, move)
            variant = film_solids(scene, path, SIZE, SIZE, view.moments, has_smooth_edges=False)
            for clip_idx, clip in enumerate(small):
                error = (variant.frames - clip).square() * weight
                errors[clip_idx, i, j] = error.sum() / weight.sum()
    return tuple(_best(of_clip) for of_clip in errors)


def _best(errors: torch.Tensor) -> ShownPath:
    """The shares of the lowest error (turns, moves)."""
    turn, move = divmod(int(errors.argmin()), len(MOVE_SHARES))
    return ShownPath(
        _lowest(TURN_SHARES, errors[:, move].tolist(), turn),
        _lowest(MOVE_SHARES, errors[turn].tolist(), move),
    )


def stretched(path: CameraTrajectory, turn: float, move: float) -> CameraTrajectory:
    """A path with its rotation and translation, relative to its start, times these shares."""
    relative = path.relative_to(path).c2w
    axis_angle = rotation_matrix_to_axis_angle(relative[:, :3, :3])
    c2w = torch.eye(4, dtype=torch.float64).repeat(path.num_frames, 1, 1)
    c2w[:, :3, :3] = axis_angle_to_rotation_matrix(turn * axis_angle)
    c2w[:, :3, 3] = move * relative[:, :3, 3]
    return CameraTrajectory(path.c2w[:1] @ c2w, path.intrinsics)


def moved_by(path: CameraTrajectory) -> float:
    """The farthest that a path goes from its start, in pose units."""
    return float((path.c2w[:, :3, 3] - path.c2w[0, :3, 3]).norm(dim=-1).max())


def obedience_measures(
    scene: SolidScene, view: FilmedSolids, clips: dict[str, torch.Tensor], mask: torch.Tensor
) -> Measures:
    """turn_error_X and move_error_X of each clip X: how far its best shares lie from 1.

    turn_share_X and move_share_X: these shares. NaN for the translation of a path that hardly
    moves.
    """
    measures: Measures = {}
    has_move = moved_by(view.path) >= LEAST_MOVE
    paths = shown_paths(scene, view, tuple(clips.values()), mask)
    for name, shown in zip(clips, paths, strict=True):
        move = shown.move if has_move else math.nan
        measures[f"turn_share_{name}"], measures[f"move_share_{name}"] = shown.turn, move
        measures[f"turn_error_{name}"] = abs(shown.turn - 1)
        measures[f"move_error_{name}"] = abs(move - 1)
    return measures


def _lowest(places: tuple[float, ...], errors: list[float], best: int) -> float:
    """The place of the lowest error: of a parabola through the best one and its neighbours."""
    if best in (0, len(places) - 1):
        return places[best]
    before, here, after = errors[best - 1 : best + 2]
    bend = before - 2 * here + after
    step = places[best + 1] - places[best]
    return places[best] if bend <= 0 else places[best] + 0.5 * step * (before - after) / bend
