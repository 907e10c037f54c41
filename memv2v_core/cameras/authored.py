"""The path that an artist asks for: named motions, or keyframes that start from them.

Camera Trajectory and its editor both call this, so the page draws the very path that a run makes.
"""

import math
from dataclasses import dataclass, replace

import torch

from .keyframe_text import parse_keyframes
from .keyframes import NUMBERS, SMOOTH, Keyframe, KeyframedPath, keyframed_trajectory
from .presets import PresetConfig, combine_paths, make_preset, preset_legs
from .trajectory import CameraTrajectory

NO_MOTION = "none"
# The number that a motion changes, and its sign.
_CHANGED: dict[str, tuple[str, float]] = {
    "static": ("yaw_deg", 0.0),
    "pan_left": ("yaw_deg", -1.0),
    "pan_right": ("yaw_deg", 1.0),
    "tilt_up": ("pitch_deg", 1.0),
    "tilt_down": ("pitch_deg", -1.0),
    "roll_left": ("roll_deg", -1.0),
    "roll_right": ("roll_deg", 1.0),
    "sweep": ("yaw_deg", 1.0),
    "orbit_left": ("orbit_deg", -1.0),
    "orbit_right": ("orbit_deg", 1.0),
    "dolly_in": ("dolly", 1.0),
    "dolly_out": ("dolly", -1.0),
}
# A second motion is seen from the camera that the first one moved: it stands to the right in the
# product of `keyframes`.
_ORDER = ("orbit_deg", "dolly", "yaw_deg", "pitch_deg", "roll_deg")
# Keyframes of a move that no fewer describe, and the frames between two of them.
_SAMPLES, _FRAMES_BETWEEN = 13, 12
# Two keyframes need different times.
_SHORTEST = 1e-9


@dataclass(frozen=True)
class PathSettings:
    """What the widgets of Camera Trajectory say, but for its length and lens.

    motion, amplitude, easing, speed, returns: see `PresetConfig`.
    second_motion, second_amplitude: at the same time, seen from the moving camera; "none" is none.
    keyframes: JSON text of a path that decides alone; "" leaves the path to the motions.
    """

    motion: str = "pan_right"
    amplitude: float = 30.0
    easing: str = "ease_in_out"
    speed: float = 1.0
    returns: bool = False
    second_motion: str = NO_MOTION
    second_amplitude: float = 10.0
    keyframes: str = ""

    @property
    def motions(self) -> tuple[tuple[str, float], ...]:
        """The one or two motions and their amplitudes."""
        first = (self.motion, self.amplitude)
        second = (self.second_motion, self.second_amplitude)
        return (first,) if self.second_motion == NO_MOTION else (first, second)

    def config(self, motion: str, amplitude: float, num_frames: int) -> PresetConfig:
        """One of the motions as a preset.

        Raises: ValueError for unknown names and numbers out of range.
        """
        return PresetConfig(
            motion,
            amplitude,
            num_frames,
            speed=self.speed,
            easing=self.easing,
            returns=self.returns,
        )


def authored_path(
    settings: PathSettings, num_frames: int, lens: torch.Tensor | None = None
) -> CameraTrajectory:
    """The cameras of a video of `num_frames`.

    lens: normalised intrinsics (3, 3) of every frame; None takes the default lens.

    Raises: ValueError for unknown names, numbers out of range, and keyframes that are none.
    """
    if settings.keyframes:
        return keyframed_trajectory(parse_keyframes(settings.keyframes), num_frames, lens)
    return _preset_path(settings, num_frames, lens)


def as_keyframes(settings: PathSettings, num_frames: int) -> KeyframedPath:
    """Keyframes for these settings; those of its motions make the same cameras.

    Exact where one motion, or two in the order orbit, dolly, pan, tilt, roll with equal turning
    points, are asked for. Others pass through 13 of their cameras.

    Raises: as `authored_path`.
    """
    if settings.keyframes:
        return parse_keyframes(settings.keyframes)
    configs = [settings.config(*motion, num_frames) for motion in settings.motions]
    moving = [config for config in configs if config.motion != "static"]
    places = [_ORDER.index(_CHANGED[config.motion][0]) for config in moving]
    legs = [preset_legs(config) for config in moving]
    if places == sorted(places) and all(leg == legs[0] for leg in legs):
        return _of_legs(settings, moving or configs[:1])
    return _sampled(settings)


def _preset_path(
    settings: PathSettings, num_frames: int, lens: torch.Tensor | None
) -> CameraTrajectory:
    path, *second = (
        make_preset(settings.config(*motion, num_frames), lens) for motion in settings.motions
    )
    # The second move is seen from the moving camera of the first.
    return combine_paths(path, second[0]) if second else path


def _of_legs(settings: PathSettings, configs: list[PresetConfig]) -> KeyframedPath:
    """One keyframe a turning point."""
    # One frame has no legs.
    timed = replace(configs[0], num_frames=max(configs[0].num_frames, 2))
    waypoints, leg_ends = preset_legs(timed)
    is_straight = len(waypoints) == 2
    ease = SMOOTH if is_straight else settings.easing
    keyframes: list[Keyframe] = []
    for idx, (end, share) in enumerate(zip(leg_ends, waypoints, strict=True)):
        # Turning points of a few frames may fall together.
        latest = 1 - (len(waypoints) - 1 - idx) * _SHORTEST
        time = min(max(end / leg_ends[-1], idx * _SHORTEST), latest)
        numbers = dict.fromkeys(NUMBERS, 0.0)
        for config in configs:
            name, sign = _CHANGED[config.motion]
            numbers[name] += sign * share * config.amplitude
        keyframes.append(Keyframe(time, **numbers, ease=ease))
    curve = settings.easing if is_straight else "linear"
    return KeyframedPath(tuple(keyframes), curve, settings.speed)


def _sampled(settings: PathSettings) -> KeyframedPath:
    num_frames = (_SAMPLES - 1) * _FRAMES_BETWEEN + 1
    # Speed only stretches the time of a path.
    poses = _preset_path(replace(settings, speed=1.0), num_frames, None).c2w[::_FRAMES_BETWEEN]
    keyframes: list[Keyframe] = []
    angles = (0.0, 0.0, 0.0)
    for idx, c2w in enumerate(poses):
        angles = _angles_deg(c2w[:3, :3], angles)
        truck, down, dolly = c2w[:3, 3].tolist()
        keyframes.append(Keyframe(idx / (_SAMPLES - 1), *angles, truck, -down, dolly))
    return KeyframedPath(tuple(keyframes), "linear", settings.speed)


def _angles_deg(
    rotation: torch.Tensor, before: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Yaw, pitch and roll of R_y R_x R_z in degrees, of all that are equal the nearest to `before`.

    rotation: (3, 3).
    """
    r = rotation.tolist()
    pitch = math.degrees(math.asin(max(-1.0, min(1.0, -r[1][2]))))
    yaw = math.degrees(math.atan2(r[0][2], r[2][2]))
    roll = math.degrees(math.atan2(r[1][0], r[1][1]))
    # Over the top: turned round, upside down and tilted back is the same view.
    choices = [(yaw, pitch, roll), (yaw + 180, 180 - pitch, roll + 180)]
    near = [
        (_nearest(a, before[0]), _nearest(b, before[1]), _nearest(c, before[2]))
        for a, b, c in choices
    ]
    return min(near, key=lambda choice: math.dist(choice, before))


def _nearest(angle_deg: float, before_deg: float) -> float:
    return before_deg + math.remainder(angle_deg - before_deg, 360)
