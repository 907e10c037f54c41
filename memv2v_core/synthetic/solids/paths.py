"""Camera paths through scenes of solids: ReCamMaster's ten kinds, and the presets beside them.

Every path starts at the source's first camera, as in ReCamMaster's data set. Lengths are in pose
units, angles in degrees.
"""

import math
from dataclasses import dataclass

import torch

from ...cameras.extent import Reach
from ...cameras.presets import (
    EASINGS,
    PresetConfig,
    axis_rotations,
    combine_paths,
    make_preset,
    preset_progress,
)
from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from .things import Draws, number, one_of

# ReCamMaster's kinds, in the order of its numbers: pans, tilts, zooms, translations with rotation,
# arcs. Then the presets of Camera Trajectory that it does not have.
RECAMMASTER_KINDS = (
    "pan_right",
    "pan_left",
    "tilt_up",
    "tilt_down",
    "dolly_in",
    "dolly_out",
    "rise",
    "sink",
    "orbit_left",
    "orbit_right",
)
KINDS = (*RECAMMASTER_KINDS, "roll_left", "roll_right", "sweep")
# Of the second move that a path may have: pans are twice as frequent as tilts.
SECOND_KINDS = ("pan_left", "pan_right", "pan_left", "pan_right", "tilt_up", "tilt_down")
# How far a drifting source moves sideways, in pose units a degree of its pan.
DRIFT_SHIFT = 0.05
# The largest number of each range: degrees of a tripod head and of a lens on a plane, pose units.
_MOST = {
    "lens_deg": 170.0,
    "pan_deg": 180.0,
    "tilt_deg": 90.0,
    "roll_deg": 180.0,
    "dolly": 100.0,
    "rise": 100.0,
    "orbit_deg": 180.0,
    "aim": 100.0,
    "source_turn_deg": 180.0,
    "source_shift": 100.0,
}
# A lens or a distance of 0 has no meaning; a move of 0 stands still.
_ABOVE_ZERO = ("lens_deg", "aim")


@dataclass(frozen=True)
class SolidPathsConfig:
    """Ranges that paths are drawn from; amplitudes are (lowest, highest).

    lens_deg: of the lens, one for all videos of a scene. usual_share: share of scenes with the
    lens of 60 degrees, which nodes use.
    aim: distance of the point that translations and arcs look at.
    second_share: share of paths that also pan or tilt.
    source_turn_deg, source_shift: how far the source's own camera turns and moves.

    Raises: ValueError for a range whose ends are swapped or below 0, and for numbers that are out
    of range or not finite.
    """

    lens_deg: tuple[float, float] = (50.0, 70.0)
    usual_share: float = 0.6
    pan_deg: tuple[float, float] = (15.0, 45.0)
    tilt_deg: tuple[float, float] = (5.0, 16.0)
    roll_deg: tuple[float, float] = (4.0, 12.0)
    dolly: tuple[float, float] = (0.25, 0.9)
    rise: tuple[float, float] = (0.15, 0.5)
    orbit_deg: tuple[float, float] = (6.0, 18.0)
    aim: tuple[float, float] = (2.5, 4.0)
    second_share: float = 0.6
    source_turn_deg: float = 5.0
    source_shift: float = 0.2

    def __post_init__(self) -> None:
        for name in ("usual_share", "second_share"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} got {share}, wanted a share from 0 to 1; 0.6 is usual")
        for name, most in _MOST.items():
            _require_range(name, getattr(self, name), most)

    @property
    def reach(self) -> Reach:
        """The farthest that a path goes from the source's first camera."""
        arc, aim = math.radians(self.orbit_deg[1]), self.aim[1]
        # A second motion may be of the first one's kind.
        most = 2 if self.second_share else 1
        return Reach(
            sideways=round(aim * math.sin(min(arc, math.pi / 2)), 4),
            vertical=self.rise[1],
            forward=max(self.dolly[1], round(aim * (1 - math.cos(arc)), 4)),
            pan_deg=most * self.pan_deg[1],
            tilt_deg=most * self.tilt_deg[1],
            roll_deg=self.roll_deg[1],
        )


def _require_range(name: str, value: tuple[float, float] | float, most: float) -> None:
    """Raise ValueError unless `value`, a number or (lowest, highest), is in order and in range."""
    least = "above 0" if name in _ABOVE_ZERO else "of at least 0"
    # NaN is in no order.
    if isinstance(value, tuple):
        low, high = value
        if not 0 <= low <= high:
            raise ValueError(
                f"{name} got {list(value)}, wanted the lowest number, at least 0, then the "
                "highest; swap or change them"
            )
    else:
        low = high = value
    if not 0 <= low <= high <= most or (name in _ABOVE_ZERO and low == 0):
        got = list(value) if isinstance(value, tuple) else value
        what = "degrees" if name.endswith("_deg") else "pose units"
        raise ValueError(f"{name} got {got}, wanted {what} {least}, at most {most:g}; change it")


def random_lens_deg(config: SolidPathsConfig, draws: Draws) -> float:
    """The lens of a scene, in degrees across."""
    is_usual, other = number(0, 1, draws) < config.usual_share, number(*config.lens_deg, draws)
    return 60.0 if is_usual else other


def random_solid_path(
    config: SolidPathsConfig,
    num_frames: int,
    fov_deg: float,
    draws: Draws,
    kinds: tuple[str, ...] = KINDS,
) -> CameraTrajectory:
    """A path of one of these kinds; some also pan or tilt."""
    path = solid_path(one_of(kinds, draws), config, num_frames, fov_deg, draws)
    if number(0, 1, draws) < config.second_share:
        second = solid_path(one_of(SECOND_KINDS, draws), config, num_frames, fov_deg, draws)
        path = combine_paths(path, second)
    return path


def solid_path(
    kind: str, config: SolidPathsConfig, num_frames: int, fov_deg: float, draws: Draws
) -> CameraTrajectory:
    """A path of this kind of random amplitude and easing."""
    family = kind.split("_")[0]
    ranges = {
        "pan": config.pan_deg,
        "sweep": config.pan_deg,
        "tilt": config.tilt_deg,
        "roll": config.roll_deg,
        "dolly": config.dolly,
        "rise": config.rise,
        "sink": config.rise,
        "orbit": config.orbit_deg,
    }
    amplitude, aim = number(*ranges[family], draws), number(*config.aim, draws)
    easing, returns = one_of(EASINGS, draws), number(0, 1, draws) < 0.2
    lens = lens_intrinsics(fov_deg, aspect=1.0)
    is_translation = family in ("rise", "sink")
    preset = PresetConfig(
        "pan_right" if is_translation else kind,
        amplitude,
        num_frames,
        easing=easing,
        returns=returns and kind != "sweep",
        orbit_distance=aim,
    )
    if not is_translation:
        return make_preset(preset, lens)
    height = (-1 if family == "rise" else 1) * amplitude
    return _translation(torch.tensor(preset_progress(preset)) * height, aim, lens)


def _translation(down: torch.Tensor, aim: float, lens: torch.Tensor) -> CameraTrajectory:
    """Cameras that move down by (F,) pose units and keep looking at the point `aim` ahead."""
    down = down.double()
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(down), 1, 1)
    c2w[:, :3, :3] = axis_rotations(0, torch.atan(down / aim))
    c2w[:, 1, 3] = down
    return CameraTrajectory(c2w, lens.expand(len(down), 3, 3).clone())


def random_solid_source(
    config: SolidPathsConfig, num_frames: int, fov_deg: float, draws: Draws
) -> CameraTrajectory:
    """A source's own path: it starts at the origin, turns and moves a little."""
    share = torch.linspace(0, 1, num_frames, dtype=torch.float64) ** number(0.7, 1.5, draws)
    turn = config.source_turn_deg
    pan, tilt = number(-turn, turn, draws), 0.6 * number(-turn, turn, draws)
    shift = config.source_shift
    x, y, z = (part * number(-shift, shift, draws) for part in (1.0, 0.4, 1.0))
    way = torch.tensor([x, y, z], dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, :3, :3] = axis_rotations(1, share * math.radians(pan)) @ axis_rotations(
        0, share * math.radians(tilt)
    )
    c2w[:, :3, 3] = share[:, None] * way
    lens = lens_intrinsics(fov_deg, aspect=1.0)
    return CameraTrajectory(c2w, lens.expand(num_frames, 3, 3).clone())


def drifting_solid_path(drift_deg: float, num_frames: int) -> CameraTrajectory:
    """A source camera that pans to the right by `drift_deg` and moves to the right, evenly.

    It moves by 0.05 pose units a degree, so a drift of 0 stands still.
    """
    share = torch.linspace(0, 1, num_frames, dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, :3, :3] = axis_rotations(1, share * math.radians(drift_deg))
    c2w[:, 0, 3] = share * DRIFT_SHIFT * drift_deg
    lens = lens_intrinsics(60.0, aspect=1.0)
    return CameraTrajectory(c2w, lens.expand(num_frames, 3, 3).clone())
