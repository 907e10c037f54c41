"""Camera paths through scenes of solids: ReCamMaster's ten kinds, and the presets beside them.

Every path starts at the source's first camera, as in ReCamMaster's data set. Lengths are in pose
units, angles in degrees.
"""

import math
from dataclasses import dataclass, fields

import torch

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


@dataclass(frozen=True)
class SolidPathsConfig:
    """Ranges that paths are drawn from; amplitudes are (lowest, highest).

    lens_deg: of the lens, one for all videos of a scene. usual_share: share of scenes with the
    lens of 60 degrees, which nodes use.
    aim: distance of the point that translations and arcs look at.
    second_share: share of paths that also pan or tilt.
    source_turn_deg, source_shift: how far the source's own camera turns and moves.

    Raises: ValueError for a range whose ends are swapped or below 0.
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
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not 0 <= value[0] <= value[1]:
                raise ValueError(
                    f"{field.name} got {list(value)}, wanted the lowest number, at least 0, then "
                    "the highest; swap them"
                )


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
