"""Camera paths through keyframes that an artist sets. Time runs from 0 to 1.

K keyframes, F frames, N numbers of a keyframe.

A keyframe holds the angles of a tripod head and a place, so that every number means one thing that
the viewer sees. Signs are the viewer's, as in `presets`: yaw to the right, pitch up, roll to the
right, truck to the right, pedestal up, dolly forward, orbit to the right.

    c2w = orbit(orbit_deg, pivot) @ [R_y(yaw) R_x(pitch) R_z(roll) | (truck, -pedestal, dolly)]

Our choice: the angles are interpolated, not quaternions. Between two views at the same height the
camera pans at that height and its horizon stays level; a quaternion's shortest arc between a pan
and a tilt rolls the picture on the way. A line on the map of directions is straight, and a yaw of
350 degrees is a turn of 350 degrees. Pitch ends at +-180, and no pole lies between two angles, so
nothing flips.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

from .presets import EASING_CURVES, EASINGS, axis_rotations
from .trajectory import CameraTrajectory, default_intrinsics

SMOOTH = "smooth"
EASES = (SMOOTH, *EASINGS)
MAX_KEYFRAMES = 64
# What an artist may set: wide enough for every preset, small enough for exact geometry.
LIMITS: dict[str, tuple[float, float]] = {
    "time": (0.0, 1.0),
    "yaw_deg": (-720.0, 720.0),
    "pitch_deg": (-180.0, 180.0),
    "roll_deg": (-720.0, 720.0),
    "truck": (-1000.0, 1000.0),
    "pedestal": (-1000.0, 1000.0),
    "dolly": (-1000.0, 1000.0),
    "orbit_deg": (-720.0, 720.0),
    "speed": (0.05, 20.0),
    "pivot": (0.01, 1000.0),
}
# Speed at the start and the end of an ease, in units of its mean speed.
_END_SPEEDS = {
    "linear": (1.0, 1.0),
    "ease_in": (0.0, math.pi / 2),
    "ease_out": (math.pi / 2, 0.0),
    "ease_in_out": (0.0, 0.0),
}
# A cubic stays between its ends while its speeds are at most this many times its mean.
_MONOTONE = 3.0
# Halvings until a Bezier parameter is exact in float64.
_HALVINGS = 60

Handles = tuple[float, float, float, float]


@dataclass(frozen=True)
class Keyframe:
    """Where the camera is at one time, and how it goes on to the next keyframe.

    time: in 0..1 of the path. yaw_deg, pitch_deg, roll_deg: where it looks. truck, pedestal, dolly:
    where it stands, in pose units. orbit_deg: its turn about the pivot.
    ease: "smooth" passes through this and the next keyframe without a jolt; the names of `EASINGS`
    go straight to the next keyframe, with that start and stop.

    Raises: ValueError for numbers out of range and unknown names.
    """

    time: float
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    truck: float = 0.0
    pedestal: float = 0.0
    dolly: float = 0.0
    orbit_deg: float = 0.0
    ease: str = SMOOTH

    def __post_init__(self) -> None:
        for name in ("time", *NUMBERS):
            require_within(name, getattr(self, name))
        if self.ease not in EASES:
            raise ValueError(f"ease got {self.ease!r}, wanted one of {', '.join(EASES)}")


# What is interpolated, the N of a keyframe.
NUMBERS = tuple(field.name for field in fields(Keyframe) if field.name not in ("time", "ease"))


@dataclass(frozen=True)
class KeyframedPath:
    """A path through keyframes, and how fast a video goes along it.

    keyframes: in order of time. Before the first and after the last one the camera stands still.
    curve: the share of the path's time by the share of the video, one of `EASINGS`, or two Bezier
    handles (x1, y1, x2, y2) in 0..1. It never goes back.
    speed: 1 ends with the video; 2 arrives at its middle and then holds; 0.5 is cut off half-way.
    pivot: pose units from the source's first camera to the point that orbits circle.

    Raises: ValueError for too many keyframes, times out of order and numbers out of range.
    """

    keyframes: tuple[Keyframe, ...]
    curve: str | Handles = "linear"
    speed: float = 1.0
    pivot: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.keyframes) <= MAX_KEYFRAMES:
            raise ValueError(
                f"keyframes got {len(self.keyframes)} of them, wanted 1 to {MAX_KEYFRAMES}; "
                "delete some, or clear the path to use the preset"
            )
        times = [keyframe.time for keyframe in self.keyframes]
        for idx, (before, after) in enumerate(zip(times, times[1:], strict=False)):
            if after <= before:
                raise ValueError(
                    f"keyframe {idx + 2} got time {after:g}, wanted more than {before:g}, the time "
                    "of the keyframe before it; sort the keyframes by time"
                )
        require_within("speed", self.speed)
        require_within("pivot", self.pivot)
        _require_curve(self.curve)


def require_within(name: str, value: float) -> None:
    """Raise ValueError unless the number lies within its `LIMITS`."""
    low, high = LIMITS[name]
    # The comparison is also false for NaN.
    if not low <= value <= high:
        raise ValueError(
            f"{name} got {value:g}, wanted {low:g} to {high:g}; choose a number in this range"
        )


def keyframed_trajectory(
    path: KeyframedPath, num_frames: int, intrinsics: torch.Tensor | None = None
) -> CameraTrajectory:
    """The cameras of a video of `num_frames` along the path.

    intrinsics: one lens (3, 3) for all frames; None takes the default lens.

    Raises: ValueError when `num_frames` is below 1.
    """
    c2w = poses_at(path, path_times(path, num_frames))
    lens = (
        default_intrinsics(num_frames)
        if intrinsics is None
        else intrinsics.expand(num_frames, 3, 3)
    )
    return CameraTrajectory(c2w, lens.clone())


def path_times(path: KeyframedPath, num_frames: int) -> tuple[float, ...]:
    """The path's time in 0..1 that each frame of the video shows, never falling.

    Raises: ValueError when `num_frames` is below 1.
    """
    if num_frames < 1:
        raise ValueError(
            f"num_frames got {num_frames}, wanted at least 1; use the frame count of the video"
        )
    share_of = _curve_function(path.curve)
    last_idx = max(num_frames - 1, 1)
    return tuple(share_of(min(idx * path.speed / last_idx, 1.0)) for idx in range(num_frames))


def poses_at(path: KeyframedPath, times: tuple[float, ...]) -> torch.Tensor:
    """Camera-to-world matrices (F, 4, 4) float64 at these times of the path."""
    values = dict(zip(NUMBERS, numbers_at(path, times).unbind(1), strict=True))
    turned = {name: torch.deg2rad(values[name]) for name in NUMBERS if name.endswith("_deg")}
    head = torch.eye(4, dtype=torch.float64).repeat(len(times), 1, 1)
    head[:, :3, :3] = (
        axis_rotations(1, turned["yaw_deg"])
        @ axis_rotations(0, turned["pitch_deg"])
        @ axis_rotations(2, turned["roll_deg"])
    )
    # +Y is down.
    head[:, :3, 3] = torch.stack([values["truck"], -values["pedestal"], values["dolly"]], dim=1)
    orbit = torch.eye(4, dtype=torch.float64).repeat(len(times), 1, 1)
    # Who goes around a point to the right turns to the left.
    orbit[:, :3, :3] = axis_rotations(1, -turned["orbit_deg"])
    ahead = torch.tensor([0.0, 0.0, path.pivot], dtype=torch.float64)
    orbit[:, :3, 3] = ahead - orbit[:, :3, :3] @ ahead
    return orbit @ head


def numbers_at(path: KeyframedPath, times: tuple[float, ...]) -> torch.Tensor:
    """The interpolated `NUMBERS` (F, N) float64 at these times of the path."""
    rows = [[getattr(keyframe, name) for name in NUMBERS] for keyframe in path.keyframes]
    values = torch.tensor(rows, dtype=torch.float64)  # (K, N)
    stops = torch.tensor([keyframe.time for keyframe in path.keyframes], dtype=torch.float64)
    if len(stops) == 1:
        return values.expand(len(times), -1).clone()
    at = torch.tensor(times, dtype=torch.float64).clamp(stops[0], stops[-1])
    # The segment of each time; the last time belongs to the last segment.
    leg = (torch.searchsorted(stops, at, right=True) - 1).clamp(max=len(stops) - 2)
    length = stops[1:] - stops[:-1]  # (K - 1,)
    share = (at - stops[leg]) / length[leg]
    start, step = values[leg], values[leg + 1] - values[leg]
    eased = torch.tensor(
        [
            EASING_CURVES.get(path.keyframes[idx].ease, float)(part)
            for idx, part in zip(leg.tolist(), share.tolist(), strict=True)
        ],
        dtype=torch.float64,
    )
    straight = start + step * eased[:, None]
    begin, end = _smooth_speeds(path, values, length)
    smooth = start + _hermite(share[:, None], step, begin[leg], end[leg])
    is_smooth = torch.tensor([keyframe.ease == SMOOTH for keyframe in path.keyframes])[leg]
    return torch.where(is_smooth[:, None], smooth, straight)


def _hermite(
    share: torch.Tensor, step: torch.Tensor, begin: torch.Tensor, end: torch.Tensor
) -> torch.Tensor:
    """How far cubics (F, N) are at `share` (F, 1), from 0 to `step`, with these end speeds."""
    square, cube = share**2, share**3
    return (
        (3 * square - 2 * cube) * step + (share - 2 * square + cube) * begin + (cube - square) * end
    )


def _smooth_speeds(
    path: KeyframedPath, values: torch.Tensor, length: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Speeds (K - 1, N) at the start and the end of every segment, per segment of time.

    Two smooth segments share one speed at their keyframe. Beside an eased segment a smooth one
    takes over its speed. No number goes beyond the two keyframes that it lies between.

    Source: Fritsch and Butland, "A method for constructing local monotone piecewise cubic
    interpolants", SIAM J. Sci. Stat. Comput. 5, 1984, the weighted harmonic mean.
    """
    slopes = (values[1:] - values[:-1]) / length[:, None]  # (K - 1, N)
    speeds = torch.zeros_like(values)
    before, after = slopes[:-1], slopes[1:]
    weight_before = 2 * length[1:, None] + length[:-1, None]
    weight_after = length[1:, None] + 2 * length[:-1, None]
    is_same_way = before * after > 0
    mean = (weight_before + weight_after) / (
        weight_before / torch.where(is_same_way, before, 1.0)
        + weight_after / torch.where(is_same_way, after, 1.0)
    )
    # A number that turns round stands still at its keyframe.
    speeds[1:-1] = torch.where(is_same_way, mean, 0.0)
    speeds[0] = _end_speed(slopes, length)
    speeds[-1] = _end_speed(slopes.flip(0), length.flip(0))
    begin, end = speeds[:-1].clone(), speeds[1:].clone()
    eases = [keyframe.ease for keyframe in path.keyframes]
    for leg in range(len(slopes)):
        if leg > 0 and eases[leg - 1] in _END_SPEEDS:
            begin[leg] = slopes[leg - 1] * _END_SPEEDS[eases[leg - 1]][1]
        if leg + 1 < len(slopes) and eases[leg + 1] in _END_SPEEDS:
            end[leg] = slopes[leg + 1] * _END_SPEEDS[eases[leg + 1]][0]
    low, high = torch.zeros_like(slopes), _MONOTONE * slopes
    low, high = torch.minimum(low, high), torch.maximum(low, high)
    whole = length[:, None]
    return begin.clamp(low, high) * whole, end.clamp(low, high) * whole


def _end_speed(slopes: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    """Speed (N,) at the start: that of a parabola through three keyframes, never backwards."""
    if len(slopes) == 1:
        return slopes[0]
    total = length[0] + length[1]
    speed = ((total + length[0]) * slopes[0] - length[0] * slopes[1]) / total
    return torch.where(speed * slopes[0] > 0, speed, 0.0)


def _curve_function(curve: str | Handles) -> Callable[[float], float]:
    if isinstance(curve, str):
        return EASING_CURVES[curve]
    x1, y1, x2, y2 = curve

    def share(u: float) -> float:
        # x grows with the parameter, so halving finds it.
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if _bezier(middle, x1, x2) < u else (low, middle)
        return _bezier(high, y1, y2) if 0 < u < 1 else u

    return share


def _bezier(parameter: float, first: float, second: float) -> float:
    rest = 1 - parameter
    return parameter * (3 * rest * (rest * first + parameter * second) + parameter**2)


def _require_curve(curve: str | Handles) -> None:
    if isinstance(curve, str):
        if curve not in EASINGS:
            raise ValueError(
                f"curve got {curve!r}, wanted one of {', '.join(EASINGS)}, or four numbers"
            )
        return
    if len(curve) != 4 or not all(0 <= number <= 1 for number in curve):
        raise ValueError(
            f"curve got {list(curve)[:8]}, wanted four numbers x1, y1, x2, y2 in 0 to 1, so that "
            "time never runs back; move the handles into the square"
        )
