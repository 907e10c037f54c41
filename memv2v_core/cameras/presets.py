"""Camera paths made from a name, an amplitude and an easing. Every path starts at the identity.

Directions are the directions of a viewer behind the camera. Axes are OpenCV axes: +X right, +Y
down, +Z forward.
- pan_left turns the view towards -X, tilt_up turns it towards -Y.
- roll_left tips the camera's top towards -X, so the picture turns clockwise.
- orbit_left moves the camera towards -X while it keeps looking at one point ahead.
- dolly_in moves the camera towards +Z. No preset rises or sinks: keyframes do.
- sweep pans left by the amplitude, then right past the start to the amplitude on the other side.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from kornia.geometry import axis_angle_to_quaternion, quaternion_to_rotation_matrix

from .trajectory import CameraTrajectory, default_intrinsics, require_length

# Each rotation turns about one camera axis (right-handed) by the amplitude times the sign.
_ROTATION_AXES: dict[str, tuple[int, float]] = {
    "pan_left": (1, -1.0),
    "pan_right": (1, 1.0),
    "tilt_up": (0, 1.0),
    "tilt_down": (0, -1.0),
    "roll_left": (2, -1.0),
    "roll_right": (2, 1.0),
    "sweep": (1, 1.0),
}
# An orbit to the left turns the view to the right, so it has the other sign than a pan.
_ORBIT_SIGNS = {"orbit_left": 1.0, "orbit_right": -1.0}
_DOLLY_SIGNS = {"dolly_in": 1.0, "dolly_out": -1.0}
# Signed shares of the amplitude that a move passes through, in order.
_STRAIGHT_WAYPOINTS = (0.0, 1.0)
_WAYPOINTS = {"static": (0.0, 0.0), "sweep": (0.0, -1.0, 1.0)}

MOTIONS: tuple[str, ...] = ("static", *_ROTATION_AXES, *_ORBIT_SIGNS, *_DOLLY_SIGNS)

# The share of a leg that is done, by the share of its time.
EASING_CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda u: u,
    "ease_in": lambda u: 1 - math.cos(u * math.pi / 2),
    "ease_out": lambda u: math.sin(u * math.pi / 2),
    "ease_in_out": lambda u: (1 - math.cos(u * math.pi)) / 2,
}
EASINGS: tuple[str, ...] = tuple(EASING_CURVES)


@dataclass(frozen=True)
class PresetConfig:
    """One named camera move.

    motion: one of `MOTIONS`.
    amplitude: how far the move goes, in degrees; in pose units for dolly_in and dolly_out.
    num_frames: pixel frames of the video.
    speed: 1 fills the video; 2 arrives at its middle and then holds; 0.5 is cut off half-way.
    easing: one of `EASINGS`, applied to each leg between two standstills.
    returns: go back to the start within the same time.
    orbit_distance: pose units from the camera to the point it circles; only orbits read it.

    Raises: ValueError for unknown names and numbers out of range.
    """

    motion: str = "pan_right"
    amplitude: float = 20.0
    num_frames: int = 81
    speed: float = 1.0
    easing: str = "ease_in_out"
    returns: bool = False
    orbit_distance: float = 1.0

    def __post_init__(self) -> None:
        _require_one_of("motion", self.motion, MOTIONS)
        _require_one_of("easing", self.easing, EASINGS)
        if self.num_frames < 1:
            raise ValueError(
                f"num_frames got {self.num_frames}, wanted at least 1; use the frame count of the "
                "video"
            )
        if not (math.isfinite(self.amplitude) and self.amplitude >= 0):
            raise ValueError(
                f"amplitude got {self.amplitude}, wanted a finite number of at least 0; "
                "to go the other way choose the opposite motion"
            )
        for name, value in (("speed", self.speed), ("orbit_distance", self.orbit_distance)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} got {value}, wanted a finite number above 0; 1 is usual")


def make_preset(config: PresetConfig, intrinsics: torch.Tensor | None = None) -> CameraTrajectory:
    """The path that `config` describes, starting at the identity.

    intrinsics: one lens (3, 3) for all frames; None takes the default lens.
    """
    amounts = torch.tensor(preset_progress(config), dtype=torch.float64) * config.amplitude
    c2w = torch.eye(4, dtype=torch.float64).repeat(config.num_frames, 1, 1)
    if config.motion in _ROTATION_AXES:
        axis, sign = _ROTATION_AXES[config.motion]
        c2w[:, :3, :3] = axis_rotations(axis, sign * torch.deg2rad(amounts))
    elif config.motion in _ORBIT_SIGNS:
        c2w[:, :3, :3] = axis_rotations(1, _ORBIT_SIGNS[config.motion] * torch.deg2rad(amounts))
        # The point straight ahead keeps its place in the view: R @ ahead + t = ahead.
        ahead = torch.tensor([0.0, 0.0, config.orbit_distance], dtype=torch.float64)
        c2w[:, :3, 3] = ahead - c2w[:, :3, :3] @ ahead
    elif config.motion in _DOLLY_SIGNS:
        c2w[:, 2, 3] = _DOLLY_SIGNS[config.motion] * amounts
    lens = (
        default_intrinsics(config.num_frames)
        if intrinsics is None
        else intrinsics.expand(config.num_frames, 3, 3)
    )
    return CameraTrajectory(c2w, lens.clone())


def combine_paths(first: CameraTrajectory, second: CameraTrajectory) -> CameraTrajectory:
    """Both moves at once, frame by frame: `second` as seen from the moving camera of `first`.

    The lens and the playback are those of `first`.

    Raises: ValueError when the lengths differ.
    """
    require_length(second, first.num_frames, "second move")
    return replace(first, c2w=first.c2w @ second.c2w)


def preset_progress(config: PresetConfig) -> tuple[float, ...]:
    """Signed share of the amplitude that each frame reaches, in [-1, 1]; the first is 0.

    Turning points fall on whole frames, so a sweep reaches its full amplitude on both sides.
    """
    waypoints, leg_ends = preset_legs(config)
    ease = EASING_CURVES[config.easing]
    later = (
        _progress_at(frame_idx, waypoints, leg_ends, ease)
        for frame_idx in range(1, config.num_frames)
    )
    return (waypoints[0], *later)


def preset_legs(config: PresetConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Signed shares of the amplitude that the move passes through, from 0 on, and the frame index
    at which each of them is reached. The last index need be no whole number.
    """
    waypoints = _WAYPOINTS.get(config.motion, _STRAIGHT_WAYPOINTS)
    if config.returns:
        waypoints = (*waypoints, 0.0)
    # A speed above 1 ends the last leg early; a speed below 1 ends it after the video.
    return waypoints, _leg_ends(waypoints, (config.num_frames - 1) / config.speed)


def _leg_ends(waypoints: Sequence[float], num_steps: float) -> tuple[float, ...]:
    """Frame index at which each waypoint is reached. A leg lasts in proportion to its length."""
    lengths = [abs(b - a) for a, b in zip(waypoints, waypoints[1:], strict=False)]
    total = sum(lengths) or 1.0
    # Only the inner waypoints are rounded; the end of the move need not fall on a frame.
    inner = [
        min(float(round(num_steps * sum(lengths[:i]) / total)), num_steps)
        for i in range(len(lengths))
    ]
    return (*inner, num_steps)


def _progress_at(
    frame_idx: int,
    waypoints: Sequence[float],
    leg_ends: Sequence[float],
    ease: Callable[[float], float],
) -> float:
    leg = bisect.bisect_right(leg_ends, frame_idx) - 1
    # The move is over: the camera holds the last waypoint.
    if leg >= len(waypoints) - 1:
        return waypoints[-1]
    share = ease((frame_idx - leg_ends[leg]) / (leg_ends[leg + 1] - leg_ends[leg]))
    return waypoints[leg] + (waypoints[leg + 1] - waypoints[leg]) * share


def axis_rotations(axis: int, angles_rad: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (F, 3, 3) about coordinate axis 0, 1 or 2 by angles (F,), right-handed."""
    axis_angle = torch.zeros(len(angles_rad), 3, dtype=angles_rad.dtype)
    axis_angle[:, axis] = angles_rad
    # By way of quaternions: kornia before 0.9 rounds its direct conversion to 1e-6.
    return quaternion_to_rotation_matrix(axis_angle_to_quaternion(axis_angle))


def _require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} got {value!r}, wanted one of {', '.join(allowed)}")
