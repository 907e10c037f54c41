"""Held-out scenes of solids, and the camera paths filmed in them.

The protocol is that of `novel_view.scenes`; here the source's camera moves, turns go by
ReCamMaster's kinds (three of four move their camera, the others only turn it), and up to two things
move.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

from ...builtin.info import BuiltinInfo
from ...cameras.presets import PresetConfig, combine_paths, make_preset
from ...cameras.trajectory import CameraTrajectory, lens_intrinsics
from ...synthetic.solids.filming import FilmedSolids, film_solids
from ...synthetic.solids.making import SolidsConfig, make_solid_scene
from ...synthetic.solids.paths import (
    KINDS,
    SolidPathsConfig,
    random_solid_path,
    random_solid_source,
    solid_path,
)
from ...synthetic.solids.scene import SolidScene
from ...synthetic.solids.things import number
from ...synthetic.solids.visibility import ever_seen, warp_by_depth
from ..held_out_seeds import held_out_generator
from ..novel_view.scenes import PAN_DEG, HeldOutScene, lens_of

# Purposes of the generators of one scene: the scene with its paths, and the candidates for
# VideoFOV. Other suites have those below 500.
SOLIDS, CANDIDATES = 500, 501
# Kinds beside a pan to one side. Tilts only turn the camera.
MOVES = (
    "orbit_left",
    "dolly_in",
    "rise",
    "orbit_right",
    "dolly_out",
    "sink",
    "tilt_up",
    "tilt_down",
)
NUM_CANDIDATES = 12


@dataclass(frozen=True, eq=False)
class DepthScene(HeldOutScene):
    """A held-out scene of solids."""

    source: FilmedSolids
    first: FilmedSolids
    second: FilmedSolids
    opposite: FilmedSolids
    sweep: FilmedSolids
    solids: SolidScene

    @cached_property
    def seen(self) -> torch.Tensor:
        """Pixels (F, 1, H, W) of turn 2 whose point any frame of the source shows."""
        return ever_seen(self.solids, self.second, self.source)

    @cached_property
    def region(self) -> torch.Tensor:
        """Pixels (F, 1, H, W) of turn 2 that both turns invent: turn 1 shows their point in the
        same frame, the source never.
        """
        return self.warped(self.first.frames)[1] & ~self.seen

    @cached_property
    def things(self) -> torch.Tensor:
        """Pixels (F, 1, H, W) of turn 2 that show a thing: no floor, wall or sky."""
        return (self.second.surface < self.solids.num_solids)[:, None]

    @cached_property
    def moving(self) -> torch.Tensor:
        """Pixels (F, 1, H, W) of turn 2 that show a thing that moves."""
        swings = (self.solids.swing != 0).any(1)
        # Floor, walls and sky come after the solids.
        rest = torch.zeros(self.solids.sky_id + 1 - len(swings), dtype=torch.bool)
        return torch.cat([swings, rest])[self.second.surface][:, None]

    def warped(self, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A version of turn 1 (F, 3, H, W) in turn 2's view, and where it is known."""
        return warp_by_depth(self.solids, first, self.first, self.second)

    def film(self, path: CameraTrajectory) -> FilmedSolids:
        """The true view along a path."""
        size = self.source.frames.shape[-1]
        return film_solids(self.solids, path, size, size)


def depth_scene(index: int, info: BuiltinInfo) -> DepthScene:
    """Scene `index` at the size, length and lens of a built-in model."""
    draws = held_out_generator(index, SOLIDS)
    config, paths, fov_deg = SolidsConfig(), SolidPathsConfig(), lens_of(info)
    solids = make_solid_scene(config, draws)
    source = random_solid_source(paths, info.num_frames, fov_deg, draws)
    side = "pan_right" if number(0, 1, draws) < 0.5 else "pan_left"
    other = "pan_left" if side == "pan_right" else "pan_right"
    # Scenes go through all pairs of moves.
    first_move, second_move = MOVES[index % 8], MOVES[(index // 8 + 3 * index + 1) % 8]
    first = _moved_pan(side, first_move, info, draws)
    second = _moved_pan(side, second_move, info, draws)
    opposite = _moved_pan(other, second_move, info, draws)
    sweep = _moved_sweep(side, first_move, info, draws)
    foreign_solids = make_solid_scene(config, draws)

    def film(path: CameraTrajectory, scene: SolidScene = solids) -> FilmedSolids:
        return film_solids(scene, path, info.size, info.size)

    return DepthScene(
        index,
        film(source),
        film(first),
        film(second),
        film(opposite),
        film(sweep),
        film(first, foreign_solids),
        solids,
    )


def candidate_paths(index: int, info: BuiltinInfo) -> tuple[CameraTrajectory, ...]:
    """Random paths in scene `index`, as memories to choose from."""
    draws = held_out_generator(index, CANDIDATES)
    config, fov_deg = SolidPathsConfig(), lens_of(info)
    return tuple(
        random_solid_path(config, info.num_frames, fov_deg, draws, KINDS)
        for _ in range(NUM_CANDIDATES)
    )


def _moved_pan(pan: str, move: str, info: BuiltinInfo, draws: torch.Generator) -> CameraTrajectory:
    """A pan to one side while the camera moves.

    It is ahead of an even pace: regions that the source never showed stay in view for many frames.
    """
    fov_deg = lens_of(info)
    moved = solid_path(move, SolidPathsConfig(), info.num_frames, fov_deg, draws)
    preset = PresetConfig(pan, number(*PAN_DEG, draws), info.num_frames, easing="ease_out")
    return combine_paths(moved, make_preset(preset, lens_intrinsics(fov_deg, aspect=1.0)))


def _moved_sweep(
    pan: str, move: str, info: BuiltinInfo, draws: torch.Generator
) -> CameraTrajectory:
    """A pan to one side by half-time, then to the other side, while the camera moves."""
    fov_deg = lens_of(info)
    moved = solid_path(move, SolidPathsConfig(), info.num_frames, fov_deg, draws)
    preset = PresetConfig("sweep", number(*PAN_DEG, draws), info.num_frames)
    sweep = make_preset(preset, lens_intrinsics(fov_deg, aspect=1.0))
    if pan == "pan_right":
        # The preset begins to the left: its mirror image begins to the right.
        mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
        sweep = CameraTrajectory(mirror @ sweep.c2w @ mirror, sweep.intrinsics)
    return combine_paths(moved, sweep)
