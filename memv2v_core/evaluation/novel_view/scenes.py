"""Scenes that training never sees, and the camera paths filmed in them."""

from dataclasses import dataclass

import torch

from ...builtin.info import BuiltinInfo
from ...cameras.projection import warp_by_rotation
from ...cameras.trajectory import CameraTrajectory
from ...synthetic.panoramas import (
    FilmedView,
    Scene,
    SceneConfig,
    film_scene,
    make_scene,
    random_source_path,
    rotation_path,
)
from ..held_out_seeds import held_out_generator
from ..metrics.consistency import unseen_region

# Purposes of the generators of one scene: the scene itself, then the noise of each turn. All
# differ.
SCENE, FIRST, SECOND, OPPOSITE, SWEEP, PROBE = range(6)

PAN_DEG = (36.0, 45.0)
TILT_DEG = (4.0, 14.0)


@dataclass(frozen=True, eq=False)
class HeldOutScene:
    """One scene, filmed along every path of the protocol.

    source: nearly still.
    first: turn 1, pans to one side.
    second: turn 2, pans to the same side, tilted the other way.
    opposite: pans to the other side.
    sweep: pans to the first side, then to the other.
    foreign: another scene along the path of `first`: a memory whose path fits and whose content
    does not.
    """

    index: int
    source: FilmedView
    first: FilmedView
    second: FilmedView
    opposite: FilmedView
    sweep: FilmedView
    foreign: FilmedView


def lens_of(info: BuiltinInfo) -> float:
    """The lens of a built-in model for camera paths, in degrees across."""
    assert info.fov_deg is not None, f"{info.name} takes no cameras"
    return info.fov_deg


def held_out_scene(index: int, info: BuiltinInfo) -> HeldOutScene:
    """Scene `index` at the size, length and lens of a built-in model."""
    config = SceneConfig(fov_deg=lens_of(info))
    generator = held_out_generator(index, SCENE)
    scene = make_scene(config, generator)
    source_path = random_source_path(config, info.num_frames, generator)
    side = 1.0 if _between(0, 1, generator) < 0.5 else -1.0
    tilt = 1.0 if _between(0, 1, generator) < 0.5 else -1.0
    # Turns 1 and 2 share a side, so that both invent the same region.
    first = _pan(side, tilt, info, generator)
    second = _pan(side, -tilt, info, generator)
    opposite = _pan(-side, tilt, info, generator)
    sweep = _sweep(side, info, generator)
    foreign = make_scene(config, generator)

    def film(path: CameraTrajectory, place: Scene = scene) -> FilmedView:
        return film_scene(place, path, info.size)

    return HeldOutScene(
        index,
        film(source_path),
        film(first),
        film(second),
        film(opposite),
        film(sweep),
        film(first, foreign),
    )


def unseen_overlap(view: FilmedView, earlier: FilmedView, *others: FilmedView) -> torch.Tensor:
    """Pixels (F, 1, H, W) of `view` that `earlier` shows and no frame of `others` shows.

    `earlier` must show them at the same frame index.
    """
    height, width = view.frames.shape[-2:]
    _, is_known = warp_by_rotation(earlier.frames, earlier.path, view.path)
    # Not only at the same frame: no frame of the others may show it.
    for other in others:
        is_known = is_known & unseen_region(view.path, other.path, height, width)
    return is_known


def _pan(
    side: float, tilt_side: float, info: BuiltinInfo, generator: torch.Generator
) -> CameraTrajectory:
    """A pan that is ahead of an even pace.

    Regions that the source never showed then stay in view for many frames.
    """
    end = [
        side * _between(*PAN_DEG, generator),
        tilt_side * _between(*TILT_DEG, generator),
        _between(-8, 8, generator),
    ]
    progress = torch.linspace(0, 1, info.num_frames) ** _between(0.7, 1.0, generator)
    return rotation_path(progress[:, None] * torch.tensor(end), lens_of(info))


def _sweep(side: float, info: BuiltinInfo, generator: torch.Generator) -> CameraTrajectory:
    """A pan to one side by half-time, then through the start to the other side.

    It meets a pan to either side.
    """
    time = torch.linspace(0, 1, info.num_frames)
    there, back = torch.sin(torch.pi * time), torch.cos(2 * torch.pi * (time - 0.5))
    progress = torch.where(time < 0.5, there, back)
    pan = side * _between(*PAN_DEG, generator) * progress
    tilt = _between(-10, 10, generator) * time
    return rotation_path(torch.stack((pan, tilt, torch.zeros_like(pan)), dim=-1), lens_of(info))


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()
