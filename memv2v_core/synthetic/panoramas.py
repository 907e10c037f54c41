"""Procedural scenes around one camera centre, with exact cameras.

A scene is a colour for every direction: a gradient from sky to ground, a soft large texture, and
solid shapes (discs, boxes, rings, crosses, triangles) in random directions. All cameras share one
centre, so the warp between two videos of a scene is an exact homography, and VideoFOV is exact.
Scenes do not move: at equal frame indices two videos agree on the place, not on a motion.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..cameras.projection import SHARED_CENTRE_TOLERANCE, pixel_rays
from ..cameras.trajectory import CameraTrajectory, lens_intrinsics

# Scenes for users: neither training nor evaluation draws from these seeds. torch reads only the
# lowest 32 bits of a seed.
DEMO_SEED_OFFSET = 0xD000_0000


@dataclass(frozen=True)
class SceneConfig:
    """Ranges that scenes and their camera paths are drawn from. Angles are in degrees.

    The panorama covers +-`half_width_deg` of longitude and +-`half_height_deg` of latitude around
    +Z.
    """

    num_shapes: int = 44
    shape_min_deg: float = 4.0
    shape_max_deg: float = 13.0
    half_width_deg: float = 110.0
    half_height_deg: float = 75.0
    panorama_width: int = 512
    fov_deg: float = 60.0
    max_pan_deg: float = 45.0
    max_tilt_deg: float = 18.0
    max_roll_deg: float = 12.0
    source_drift_deg: float = 5.0

    @property
    def panorama_height(self) -> int:
        return round(self.panorama_width * self.half_height_deg / self.half_width_deg)


@dataclass(frozen=True, eq=False)
class Scene:
    """A panorama (3, Hp, Wp) in [0, 1] on a latitude-longitude grid.

    half_width_rad, half_height_rad: the half angles that it covers, in radians.
    """

    panorama: torch.Tensor
    half_width_rad: float
    half_height_rad: float


def make_scene(
    config: SceneConfig, generator: torch.Generator, device: torch.device | None = None
) -> Scene:
    """A random scene on `device`; the same generator state gives the same scene."""
    half_width, half_height = (
        math.radians(config.half_width_deg),
        math.radians(config.half_height_deg),
    )
    directions = _panorama_directions(config, half_width, half_height).to(device)
    colour = _background(directions, generator)
    for _ in range(config.num_shapes):
        # Later shapes cover earlier ones.
        alpha, tint = _random_shape(config, directions, generator)
        colour = torch.lerp(colour, tint.view(3, 1, 1).expand_as(colour), alpha.unsqueeze(0))
    return Scene(colour.clamp(0, 1), half_width, half_height)


def demo_scene(number: int, config: SceneConfig) -> Scene:
    """A scene that the built-in model never saw in training."""
    return make_scene(config, torch.Generator().manual_seed(DEMO_SEED_OFFSET + number))


def require_inside(path: CameraTrajectory, config: SceneConfig) -> None:
    """Raise ValueError when a path leaves the scene's centre or looks past the scene's edge."""
    moved = float(path.c2w[:, :3, 3].norm(dim=1).max())
    if moved > SHARED_CENTRE_TOLERANCE:
        raise ValueError(
            f"camera got {moved:.3g} pose units away from the scene's centre, wanted 0; demo "
            "scenes are painted on a sphere and have no depth: choose pan, tilt, roll or sweep"
        )
    # 8 x 8 rays per frame are enough: the outer ones lie close to its corners.
    rays = pixel_rays(path.c2w, path.intrinsics, 8, 8)
    longitude = float(torch.rad2deg(torch.atan2(rays[..., 0], rays[..., 2]).abs().max()))
    latitude = float(torch.rad2deg(torch.asin(rays[..., 1].clamp(-1, 1)).abs().max()))
    if longitude > config.half_width_deg or latitude > config.half_height_deg:
        raise ValueError(
            f"camera got {longitude:.0f} degrees to the side and {latitude:.0f} up or down into "
            f"view, wanted at most {config.half_width_deg:.0f} and {config.half_height_deg:.0f}, "
            "where the scene ends; lower the amplitude"
        )


def render_panorama(
    scene: Scene, trajectory: CameraTrajectory, height: int, width: int
) -> torch.Tensor:
    """The video (F, 3, H, W) in [0, 1] that a camera at the scene's centre sees."""
    device = scene.panorama.device
    c2w, intrinsics = trajectory.c2w.to(device), trajectory.intrinsics.to(device)
    rays = pixel_rays(c2w, intrinsics, height, width).to(scene.panorama)  # (F, H, W, 3)
    # Each ray as longitude and latitude; grid_sample wants them in -1..1 over the panorama.
    longitude = torch.atan2(rays[..., 0], rays[..., 2])
    latitude = torch.asin(rays[..., 1].clamp(-1, 1))
    grid = torch.stack((longitude / scene.half_width_rad, latitude / scene.half_height_rad), dim=-1)
    panorama = scene.panorama.expand(trajectory.num_frames, -1, -1, -1)
    return F.grid_sample(
        panorama, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


@dataclass(frozen=True, eq=False)
class FilmedView:
    """Frames (F, 3, H, W) in [0, 1] of one video and the camera of each."""

    frames: torch.Tensor
    path: CameraTrajectory


def film_scene(scene: Scene, path: CameraTrajectory, size: int) -> FilmedView:
    """A square video of a scene along a path, `size` pixels per side."""
    return FilmedView(render_panorama(scene, path, size, size), path)


def random_source_path(
    config: SceneConfig, num_frames: int, generator: torch.Generator
) -> CameraTrajectory:
    """A source camera near +Z that drifts by at most `source_drift_deg`."""
    drift = (
        (2 * torch.rand(3, generator=generator) - 1)
        * config.source_drift_deg
        * torch.tensor([1.0, 0.6, 0.3])
    )
    return rotation_path(
        _eased(num_frames, generator, returns=False)[:, None] * drift, config.fov_deg
    )


def random_edit_path(
    config: SceneConfig, num_frames: int, generator: torch.Generator
) -> CameraTrajectory:
    """A path that starts at the source's first pose and pans, tilts and rolls away.

    One path in four returns to its start.
    """
    limits = torch.tensor([config.max_pan_deg, config.max_tilt_deg, config.max_roll_deg])
    end = (2 * torch.rand(3, generator=generator) - 1) * limits
    end[0] = torch.sign(end[0]) * (0.35 * limits[0] + 0.65 * end[0].abs())
    returns = torch.rand((), generator=generator).item() < 0.25
    return rotation_path(_eased(num_frames, generator, returns)[:, None] * end, config.fov_deg)


def drifting_path(drift_deg: float, num_frames: int, config: SceneConfig) -> CameraTrajectory:
    """A source camera that pans to the right by `drift_deg`, evenly."""
    pan_deg = torch.linspace(0, 1, num_frames)[:, None] * torch.tensor([drift_deg, 0.0, 0.0])
    return rotation_path(pan_deg, config.fov_deg)


def rotation_path(pan_tilt_roll_deg: torch.Tensor, fov_deg: float) -> CameraTrajectory:
    """The path of cameras turned by pan (to the right), tilt (down) and roll.

    pan_tilt_roll_deg: (F, 3) in degrees.
    """
    pan, tilt, roll = torch.deg2rad(pan_tilt_roll_deg.to(torch.float64)).unbind(-1)
    rotation = _axis_rotation(pan, 1) @ _axis_rotation(-tilt, 0) @ _axis_rotation(roll, 2)
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(pan), 1, 1)
    c2w[:, :3, :3] = rotation
    lens = lens_intrinsics(fov_deg, aspect=1.0)
    return CameraTrajectory(c2w, lens.expand(len(pan), 3, 3).clone())


def _eased(num_frames: int, generator: torch.Generator, returns: bool) -> torch.Tensor:
    progress = torch.linspace(0, 1, num_frames)
    if returns:
        progress = 1 - (2 * progress - 1).abs()
    # A random power: some paths start slowly, others stop slowly.
    power = 0.7 + 0.9 * torch.rand((), generator=generator)
    return progress**power


def _axis_rotation(angle: torch.Tensor, axis: int) -> torch.Tensor:
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[:, i, i], matrix[:, j, j] = cos, cos
    matrix[:, i, j], matrix[:, j, i] = -sin, sin
    return matrix


def _panorama_directions(
    config: SceneConfig, half_width: float, half_height: float
) -> torch.Tensor:
    rows, columns = config.panorama_height, config.panorama_width
    latitude = ((torch.arange(rows) + 0.5) / rows * 2 - 1) * half_height
    longitude = ((torch.arange(columns) + 0.5) / columns * 2 - 1) * half_width
    lat, lon = torch.meshgrid(latitude, longitude, indexing="ij")
    return torch.stack((lat.cos() * lon.sin(), lat.sin(), lat.cos() * lon.cos()))  # (3, Hp, Wp)


def _background(directions: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    ends = 0.25 + 0.6 * torch.rand(2, 3, generator=generator)
    top, bottom = ends.to(directions).unbind(0)
    mix = (0.5 + 0.5 * directions[1] / math.sin(1.2)).clamp(0, 1)
    colour = torch.lerp(top.view(3, 1, 1), bottom.view(3, 1, 1), mix)
    # Four waves in random directions give a soft texture without seams on the sphere.
    for _ in range(4):
        wave = torch.randn(3, generator=generator) * 3.0
        phase = 2 * math.pi * torch.rand((), generator=generator).item()
        amplitude = 0.07 * torch.randn(3, 1, 1, generator=generator)
        along = torch.einsum("c,chw->hw", wave.to(directions), directions)
        colour = colour + amplitude.to(directions) * torch.cos(along + phase)
    return colour


def _random_shape(
    config: SceneConfig, directions: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coverage (Hp, Wp) in [0, 1] and colour (3,) of one shape."""
    # Step 1: direction and size. asin spreads the shapes evenly over the sphere, and the power
    # makes small shapes more frequent.
    uniform = torch.rand(8, generator=generator).tolist()
    longitude = (2 * uniform[0] - 1) * math.radians(config.half_width_deg) * 0.9
    latitude = math.asin(
        (2 * uniform[1] - 1) * math.sin(math.radians(config.half_height_deg) * 0.75)
    )
    size = math.radians(
        config.shape_min_deg + (config.shape_max_deg - config.shape_min_deg) * uniform[2] ** 1.5
    )
    centre = torch.tensor(
        [
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
            math.cos(latitude) * math.cos(longitude),
        ]
    ).to(directions)
    # Step 2: coordinates (Hp, Wp) on the plane that touches the sphere at the shape.
    side = torch.tensor([math.cos(longitude), 0.0, -math.sin(longitude)])
    across = F.normalize(side, dim=0).to(directions)
    down = torch.linalg.cross(centre, across)
    along = torch.einsum("c,chw->hw", centre, directions)  # (Hp, Wp), cosine of the angle
    depth = along.clamp(min=0.1)
    x = torch.einsum("c,chw->hw", across, directions) / depth
    y = torch.einsum("c,chw->hw", down, directions) / depth
    # Step 3: turned, then the distance to its outline; 0.6 degrees make the edge smooth.
    turn = 2 * math.pi * uniform[3]
    x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
    distance = _signed_distance(int(uniform[4] * 5), x, y, size, 0.5 + 0.5 * uniform[5])
    edge = math.radians(0.6)
    # The plane also meets the rays behind the camera: there nothing is drawn.
    alpha = (0.5 - distance / edge).clamp(0, 1) * (along > 0.15)
    # Step 4: a colour of full range, so that shapes stand out from the background.
    colour = torch.rand(3, generator=generator)
    colour = (colour - colour.min()) / (colour.max() - colour.min() + 1e-6)
    return alpha, (0.05 + 0.9 * colour * (0.5 + 0.5 * uniform[6])).to(directions)


def _signed_distance(
    kind: int, x: torch.Tensor, y: torch.Tensor, size: float, aspect: float
) -> torch.Tensor:
    """Distance to the outline, negative inside: disc, box, ring, cross or triangle."""
    if kind == 0:
        return torch.hypot(x, y) - size
    if kind == 1:
        return torch.maximum(x.abs() - size, y.abs() - size * aspect)
    if kind == 2:
        return (torch.hypot(x, y) - 0.75 * size).abs() - 0.28 * size
    if kind == 3:
        arm = 0.33 * size
        bars = (
            torch.maximum(x.abs() - size, y.abs() - arm),
            torch.maximum(x.abs() - arm, y.abs() - size),
        )
        return torch.minimum(*bars)
    return torch.maximum((0.866 * x.abs() + 0.5 * y) - 0.5 * size, -y - 0.5 * size)
