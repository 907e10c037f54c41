"""Small scenes of solids with known geometry, and a second, slower way to ask what is inside."""

import math

import torch

from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics
from memv2v_core.synthetic.solids.making import SolidsConfig, make_solid_scene
from memv2v_core.synthetic.solids.scene import (
    Motion,
    Paint,
    Solid,
    SolidScene,
    Thing,
    Vector,
    build_scene,
)

INFINITE = float("inf")
# Left, right, ceiling, floor, back, front.
ROOM = (-5.0, 5.0, -3.0, 1.5, -4.0, 8.0)
OUTDOORS = (-INFINITE, INFINITE, -INFINITE, 1.5, -INFINITE, INFINITE)
RED, BLUE, GREY = Paint((0.9, 0.1, 0.1)), Paint((0.1, 0.1, 0.9)), Paint((0.5, 0.5, 0.5))
SKY = ((0.9, 0.9, 0.9), (0.2, 0.4, 0.9), (0.2, 0.4, 0.2), (0.3, 0.6, 0.1), (1.0, 1.0, 1.0))


def standing(solid: Solid, yaw: float = 0.0, motion: Motion | None = None) -> Thing:
    """A thing of one solid, whose foot is the origin."""
    return Thing("thing", (solid,), (0.0, 0.0, 0.0), yaw, 0.0, motion or Motion())


def scene_of(*things: Thing, extents: tuple[float, ...] = ROOM) -> SolidScene:
    """These things in a grey room, or in other extents."""
    return build_scene(things, (GREY,) * 6, extents, (0.3, -1.0, -0.5), torch.tensor(SKY))


def ball(centre: Vector, radius: float = 1.0, paint: Paint = RED) -> Solid:
    return Solid("ellipsoid", centre, (radius, radius, radius), paint)


def made_scene(seed: int, **fields: float) -> SolidScene:
    """A random scene of the project's own."""
    config = SolidsConfig(**fields)  # type: ignore[arg-type]
    return make_solid_scene(config, torch.Generator().manual_seed(seed))


def cameras_at(*centres: Vector, fov_deg: float = 60.0, yaw: float = 0.0) -> CameraTrajectory:
    """Cameras that look along +Z, or turned by `yaw` radians towards +X."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(centres), 1, 1)
    c2w[:, :3, 3] = torch.tensor(centres, dtype=torch.float64)
    cos, sin = math.cos(yaw), math.sin(yaw)
    c2w[:, :3, :3] = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], dtype=torch.float64)
    return CameraTrajectory(c2w, lens_intrinsics(fov_deg, 1.0).expand(len(centres), 3, 3).clone())


def fullness(solid: Solid, yaw: float, points: torch.Tensor) -> torch.Tensor:
    """How far out points (..., 3) of a solid's thing lie, up to 1 inside the solid.

    Written without the project's code: the thing's +Z axis points to (sin yaw, 0, cos yaw).
    """
    cos, sin = math.cos(yaw), math.sin(yaw)
    right, ahead = points.new_tensor([cos, 0, -sin]), points.new_tensor([sin, 0, cos])
    middle = points.new_tensor(solid.centre)
    x = points @ right - middle[0]
    y = points[..., 1] - middle[1]
    z = points @ ahead - middle[2]
    if solid.kind == "cone":
        lower, half, upper = solid.size
        # The lower end is at +Y.
        radius = lower + (upper - lower) * (half - y) / (2 * half)
        return torch.maximum(y.abs() / half, torch.hypot(x, z) / radius.clamp(min=1e-9))
    width, height, depth = solid.size
    parts = torch.stack((x / width, y / height, z / depth))
    return parts.norm(dim=0) if solid.kind == "ellipsoid" else parts.abs().amax(0)
