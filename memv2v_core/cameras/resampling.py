"""A camera path with another number of frames."""

from dataclasses import replace

import torch
from kornia.geometry import (
    axis_angle_to_quaternion,
    quaternion_to_axis_angle,
    quaternion_to_rotation_matrix,
    rotation_matrix_to_quaternion,
)

from .trajectory import CameraTrajectory


def resample_trajectory(trajectory: CameraTrajectory, num_frames: int) -> CameraTrajectory:
    """The same move in `num_frames` frames.

    The first and the last frame stay; rotations turn at constant speed in between. Frames that fall
    on an old frame keep its matrix bit for bit. Only rotations relative to the previous frame are
    interpolated, so mirrored worlds (determinant -1) stay mirrored.

    Raises: ValueError when `num_frames` is below 1.
    """
    if num_frames < 1:
        raise ValueError(
            f"num_frames got {num_frames}, wanted at least 1; use the frame count of the video"
        )
    last_idx = trajectory.num_frames - 1
    # New frame i lies between the old frames before[i] and after[i], share[i] of the way.
    positions = torch.arange(num_frames, dtype=torch.float64) * last_idx / max(num_frames - 1, 1)
    before = positions.floor().long()
    after = (before + 1).clamp(max=last_idx)
    share = (positions - before)[:, None]  # (F, 1) in [0, 1)
    c2w = trajectory.c2w[before].clone()
    # Frames with share 0 are copies: interpolation would round them.
    moved = share[:, 0] > 0
    c2w[moved] = _between(c2w[moved], trajectory.c2w[after[moved]], share[moved])
    # Zooms are interpolated too.
    intrinsics = torch.lerp(
        trajectory.intrinsics[before], trajectory.intrinsics[after], share[..., None]
    )
    return replace(trajectory, c2w=c2w, intrinsics=intrinsics)


def _between(start: torch.Tensor, end: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Poses (F, 4, 4) at `share` (F, 1) of the way from `start` to `end`.

    Rotations take the shorter arc, translations a straight line.
    """
    # The turn from start to end, in the axes of the start camera.
    turn = start[:, :3, :3].transpose(1, 2) @ end[:, :3, :3]  # (F, 3, 3)
    axis_angle = share * quaternion_to_axis_angle(rotation_matrix_to_quaternion(turn))  # (F, 3)
    result = start.clone()
    result[:, :3, :3] = start[:, :3, :3] @ quaternion_to_rotation_matrix(
        axis_angle_to_quaternion(axis_angle)
    )
    result[:, :3, 3] = torch.lerp(start[:, :3, 3], end[:, :3, 3], share)
    return result
