"""Camera paths of many kinds, as a bank of stored turns may hold them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from memv2v_core.cameras.presets import MOTIONS, PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory

NUM_FRAMES = 81


class Dice:
    """Random numbers of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def spread(self, low: float, high: float, *size: int) -> torch.Tensor:
        """Even numbers of this shape, float64."""
        drawn = torch.rand(*size, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * drawn

    def number(self, low: float, high: float) -> float:
        return float(self.spread(low, high, 1))

    def lens(self) -> torch.Tensor:
        """Square pixels at 16:9, 28 to 84 degrees across."""
        focal = self.number(0.55, 2.0)
        return intrinsics_matrix(focal, focal * 16 / 9)

    def placed(self, path: CameraTrajectory) -> CameraTrajectory:
        """The path from another place, looking another way, mostly level."""
        turns = self.spread(-1, 1, 3) * torch.tensor([0.3, math.pi, 0.1])
        world = torch.eye(4, dtype=torch.float64)
        world[:3, :3], world[:3, 3] = rotation(turns), self.spread(-0.3, 0.3, 3)
        return CameraTrajectory(world @ path.c2w, path.intrinsics)


def rotation(vectors: torch.Tensor) -> torch.Tensor:
    """Matrices (..., 3, 3) of rotation vectors (..., 3)."""
    skew = torch.zeros(*vectors.shape, 3, dtype=torch.float64)
    skew[..., 0, 1], skew[..., 0, 2] = -vectors[..., 2], vectors[..., 1]
    skew[..., 1, 2] = -vectors[..., 0]
    return torch.matrix_exp(skew - skew.transpose(-1, -2))


def _static(dice: Dice) -> CameraTrajectory:
    return dice.placed(static_trajectory(NUM_FRAMES, dice.lens()))


def _preset(dice: Dice) -> CameraTrajectory:
    motion = MOTIONS[int(dice.number(0, len(MOTIONS)))]
    amplitude = dice.number(0.2, 1) if "dolly" in motion else dice.number(10, 60)
    config = PresetConfig(motion, amplitude, NUM_FRAMES, returns=dice.number(0, 1) < 0.3)
    return dice.placed(make_preset(config, dice.lens()))


def _orbit(dice: Dice) -> CameraTrajectory:
    config = PresetConfig("orbit_left", dice.number(60, 360), NUM_FRAMES, orbit_distance=2.0)
    return dice.placed(make_preset(config, dice.lens()))


def _zoom(dice: Dice) -> CameraTrajectory:
    path = make_preset(PresetConfig("pan_left", dice.number(0, 40), NUM_FRAMES), dice.lens())
    intrinsics = path.intrinsics.clone()
    zoom = torch.linspace(1, dice.number(0.6, 3), NUM_FRAMES, dtype=torch.float64)
    intrinsics[:, 0, 0] *= zoom
    intrinsics[:, 1, 1] *= zoom
    return dice.placed(CameraTrajectory(path.c2w, intrinsics))


def _handheld(dice: Dice) -> CameraTrajectory:
    path = make_preset(PresetConfig("pan_right", dice.number(0, 60), NUM_FRAMES), dice.lens())
    shake = torch.eye(4, dtype=torch.float64).repeat(NUM_FRAMES, 1, 1)
    shake[:, :3, :3] = rotation(dice.spread(-0.02, 0.02, NUM_FRAMES, 3))
    shake[:, :3, 3] = dice.spread(-0.02, 0.02, NUM_FRAMES, 3)
    return dice.placed(CameraTrajectory(path.c2w @ shake, path.intrinsics))


def _wide(dice: Dice) -> CameraTrajectory:
    """120 degrees across, tilted up past the pole."""
    config = PresetConfig("tilt_up", dice.number(30, 120), NUM_FRAMES)
    return dice.placed(make_preset(config, intrinsics_matrix(0.29, 0.51)))


def _outside(dice: Dice) -> CameraTrajectory:
    """A flight past the sphere, several radii away, that looks at it."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(NUM_FRAMES, 1, 1)
    along = torch.linspace(-1, 1, NUM_FRAMES, dtype=torch.float64)[:, None]
    start = F.normalize(dice.spread(-1, 1, 3), dim=0) * dice.number(1.5, 5)
    c2w[:, :3, 3] = start + along * dice.spread(-2, 2, 3)
    ahead = -F.normalize(c2w[:, :3, 3], dim=1)
    down = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(NUM_FRAMES, 3)
    right = F.normalize(torch.linalg.cross(down, ahead), dim=1)
    c2w[:, :3, :3] = torch.stack([right, torch.linalg.cross(ahead, right), ahead], dim=2)
    return CameraTrajectory(c2w, dice.lens().expand(NUM_FRAMES, 3, 3).clone())


def _surface(dice: Dice) -> CameraTrajectory:
    """Cameras anywhere on the sphere itself, each looking anywhere."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(NUM_FRAMES, 1, 1)
    c2w[:, :3, :3] = rotation(dice.spread(-3, 3, NUM_FRAMES, 3))
    c2w[:, :3, 3] = F.normalize(dice.spread(-1, 1, NUM_FRAMES, 3), dim=1)
    return CameraTrajectory(c2w, dice.lens().expand(NUM_FRAMES, 3, 3).clone())


KINDS: dict[str, Callable[[Dice], CameraTrajectory]] = {
    "static": _static,
    "preset": _preset,
    "orbit": _orbit,
    "zoom": _zoom,
    "handheld": _handheld,
    "wide lens, tilted": _wide,
    "outside the sphere": _outside,
    "on the sphere": _surface,
}


def paths_of(kind: str, count: int, seed: int = 0) -> list[CameraTrajectory]:
    """Paths of one kind."""
    dice = Dice(seed)
    return [KINDS[kind](dice) for _ in range(count)]


def mixed_paths(count: int, num_made: int = 1000, seed: int = 1) -> list[CameraTrajectory]:
    """Paths of all kinds in turn. From `num_made` on they are earlier ones at other places."""
    dice, makers = Dice(seed), tuple(KINDS.values())
    made = [makers[idx % len(makers)](dice) for idx in range(min(count, num_made))]
    return made + [dice.placed(made[idx % len(made)]) for idx in range(len(made), count)]


def query_path() -> CameraTrajectory:
    """The new path that all others are compared with: a pan of the default lens."""
    return make_preset(PresetConfig("pan_left", 30.0, NUM_FRAMES))
