"""A camera path with another number of frames, or with frames between known ones."""

from collections.abc import Sequence
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
    interpolated, so mirrored worlds (determinant -1) stay mirrored. Moments of a playback are
    interpolated too; they stay moments of the same source.

    Raises: ValueError when `num_frames` is below 1.
    """
    if num_frames < 1:
        raise ValueError(
            f"num_frames got {num_frames}, wanted at least 1; use the frame count of the video"
        )
    last_idx = trajectory.num_frames - 1
    positions = torch.arange(num_frames, dtype=torch.float64) * last_idx / max(num_frames - 1, 1)
    return _sampled(trajectory, positions)


def fill_gaps(trajectory: CameraTrajectory, frame_idx: Sequence[int]) -> CameraTrajectory:
    """The path with a camera for every frame from 0 to the last known one.

    trajectory: the known cameras. frame_idx: their frames, ascending from 0. Known cameras stay
    bit for bit; rotations turn at constant speed in between.

    Raises: ValueError when there is not one ascending frame a camera.
    """
    steps = [after - before for before, after in zip(frame_idx, frame_idx[1:], strict=False)]
    if len(frame_idx) != trajectory.num_frames or frame_idx[0] != 0 or min(steps, default=1) < 1:
        raise ValueError(
            f"frame_idx got {list(frame_idx)[:8]}, wanted {trajectory.num_frames} ascending frames "
            "from 0; sort the frames"
        )
    # Frame i lies between two known ones, so many of the known ones in.
    positions = [
        known + share / step for known, step in enumerate(steps) for share in range(step)
    ] + [float(len(steps))]
    return _sampled(trajectory, torch.tensor(positions, dtype=torch.float64))


def _sampled(trajectory: CameraTrajectory, positions: torch.Tensor) -> CameraTrajectory:
    """Cameras at positions (F,) on the path, counted in its frames."""
    last_idx = trajectory.num_frames - 1
    # New frame i lies between the old frames before[i] and after[i], share[i] of the way.
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
    times = trajectory.times
    if times is not None:
        times = torch.lerp(times[before], times[after], share[:, 0])
    return replace(trajectory, c2w=c2w, intrinsics=intrinsics, times=times)


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
