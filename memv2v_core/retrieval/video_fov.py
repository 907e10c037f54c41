"""How much of what one camera path sees another path has seen: VideoFOV, exact and fast.

F frames, M sphere points, N blocks of neighbouring points, P = 5 planes that bound a view. Points
lie on a latitude-longitude grid around the target's first camera, so they crowd at the poles: the
paper's scores come from it.

Blocks wholly inside or outside a view are settled by the planes alone; only points of blocks that a
border crosses, and that no earlier frame has seen, are projected. The result equals testing every
point in every frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..cameras.projection import inside_image, project_points, unique_cameras
from ..cameras.trajectory import CameraTrajectory

_BLOCK_SIDE = 6  # grid rows and columns in a block
# Blocks this near to a plane, in radii, are tested point by point; far above rounding of float64.
_MARGIN = 1e-6


@dataclass(frozen=True)
class VideoFovConfig:
    """The sphere of points and the weight between the two scores.

    num_rows, num_columns: latitudes and longitudes; M is their product, 64,800.
    radius: of the sphere, in pose units. Matters only where cameras move.
    balance: lambda of Eq. 3; 1 counts overlap alone, 0 containment alone.

    Raises: ValueError for numbers out of range.
    """

    num_rows: int = 180
    num_columns: int = 360
    radius: float = 1.0
    balance: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("num_rows", self.num_rows), ("num_columns", self.num_columns)):
            if value < 1:
                raise ValueError(
                    f"{name} got {value}, wanted at least 1; the paper uses 180 and 360"
                )
        if not (math.isfinite(self.radius) and self.radius > 0):
            raise ValueError(
                f"radius got {self.radius}, wanted a finite number above 0; 1 pose unit is usual"
            )
        if not 0 <= self.balance <= 1:
            raise ValueError(f"balance got {self.balance}, wanted 0 to 1; the paper uses 0.5")


@dataclass(frozen=True)
class FovScore:
    """Eq. 1 (intersection over union), Eq. 2 (share of the query that is covered) and their mix,
    Eq. 3; all in 0..1.
    """

    overlap: float
    contain: float
    score: float


@dataclass(frozen=True, eq=False)
class _Sphere:
    """Points (M, 3), the block (M,) each lies in, and centres (N, 3) and radii (N,) of the blocks'
    bounding balls.
    """

    points: torch.Tensor
    block_idx: torch.Tensor
    centres: torch.Tensor
    radii: torch.Tensor


def video_fov_scores(
    query: CameraTrajectory,
    candidates: Sequence[CameraTrajectory],
    config: VideoFovConfig | None = None,
) -> tuple[FovScore, ...]:
    """The scores of every candidate for this query, in the candidates' order; all paths in one
    world space.

    Raises: ValueError when the query sees no point of the sphere.

    Source: Alg. 1, Eq. 1-3, arXiv:2601.16296v2.
    Departs from the paper: camera space is R^T (p - t), since Alg. 1's relative R is
    camera-to-world.
    """
    config = config or VideoFovConfig()
    sphere = _make_sphere(config)
    target = _seen_points(query, query, sphere)
    if not target.any():
        raise ValueError(
            f"the query's camera path sees 0 of {target.numel()} sphere points, wanted at least 1; "
            "use a wider lens, a finer grid or a larger radius"
        )
    return tuple(
        _score(target, _seen_points(path, query, sphere), config.balance) for path in candidates
    )


def video_fov_mask(
    trajectory: CameraTrajectory, reference: CameraTrajectory, config: VideoFovConfig | None = None
) -> torch.Tensor:
    """True (rows, columns) at points that any frame of the path sees, on the sphere around
    `reference`'s first camera.

    Drawn as a picture it is a panorama: its centre is where that camera looks, +X right and +Y
    down.
    """
    config = config or VideoFovConfig()
    return _seen_points(trajectory, reference, _make_sphere(config)).reshape(
        config.num_rows, config.num_columns
    )


def sphere_points(config: VideoFovConfig) -> torch.Tensor:
    """Points (M, 3) float64, row by row: theta = (u + 0.5) pi / rows from -Y, phi = (v + 0.5) 2 pi
    / columns.
    """
    theta = (torch.arange(config.num_rows, dtype=torch.float64) + 0.5) * (math.pi / config.num_rows)
    phi = (torch.arange(config.num_columns, dtype=torch.float64) + 0.5) * (
        2 * math.pi / config.num_columns
    )
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    directions = torch.stack(
        [-theta.sin() * phi.sin(), -theta.cos(), -theta.sin() * phi.cos()], dim=-1
    )
    return config.radius * directions.reshape(-1, 3)


def _score(target: torch.Tensor, other: torch.Tensor, balance: float) -> FovScore:
    both = int((target & other).sum())
    overlap = both / int((target | other).sum())
    contain = both / int(target.sum())
    return FovScore(overlap, contain, balance * overlap + (1 - balance) * contain)


def _make_sphere(config: VideoFovConfig) -> _Sphere:
    points = sphere_points(config)
    rows = torch.arange(config.num_rows) // _BLOCK_SIDE
    columns = torch.arange(config.num_columns) // _BLOCK_SIDE
    num_block_columns = int(columns[-1]) + 1
    block_idx = (rows[:, None] * num_block_columns + columns).flatten()
    num_blocks = int(block_idx[-1]) + 1
    sums = torch.zeros(num_blocks, 3, dtype=torch.float64).index_add(0, block_idx, points)
    centres = sums / torch.bincount(block_idx, minlength=num_blocks)[:, None]
    distances = (points - centres[block_idx]).norm(dim=-1)
    radii = torch.zeros(num_blocks, dtype=torch.float64).scatter_reduce(
        0, block_idx, distances, "amax"
    )
    return _Sphere(points, block_idx, centres, radii + _MARGIN * config.radius)


def _seen_points(
    trajectory: CameraTrajectory, reference: CameraTrajectory, sphere: _Sphere
) -> torch.Tensor:
    """True (M,) at sphere points that any frame sees: the set F of Alg. 1."""
    relative = unique_cameras(_relative_path(trajectory, reference))
    whole, crossed = _classify_blocks(relative, sphere)
    seen_blocks = whole.any(0)
    seen = seen_blocks[sphere.block_idx]
    pending_idx = (crossed.any(0) & ~seen_blocks)[sphere.block_idx].nonzero()[:, 0]
    for c2w, lens, crossed_now in zip(relative.c2w, relative.intrinsics, crossed, strict=True):
        test_idx = pending_idx[crossed_now[sphere.block_idx[pending_idx]]]
        if len(test_idx):
            seen[test_idx] = inside_image(*project_points(sphere.points[test_idx], c2w, lens))
            pending_idx = pending_idx[~seen[pending_idx]]
    return seen


def _relative_path(trajectory: CameraTrajectory, reference: CameraTrajectory) -> CameraTrajectory:
    """Alg. 1's RelativePose: R_ref^T R and R_ref^T (t - t_ref), with no inverse of a matrix rounded
    in a file.
    """
    rotation_ref = reference.c2w[0, :3, :3]
    c2w = trajectory.c2w.clone()
    c2w[:, :3, :3] = rotation_ref.T @ trajectory.c2w[:, :3, :3]
    c2w[:, :3, 3] = (trajectory.c2w[:, :3, 3] - reference.c2w[0, :3, 3]) @ rotation_ref
    return CameraTrajectory(c2w, trajectory.intrinsics)


def _classify_blocks(
    relative: CameraTrajectory, sphere: _Sphere
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two masks (F, N): blocks wholly inside a frame's view, and blocks that may hold points on
    both sides.
    """
    row_x, row_y = relative.intrinsics[:, 0], relative.intrinsics[:, 1]
    depth = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(row_x)
    # Inside: x >= 0, x < depth, y >= 0, y < depth, depth > 0 for image coordinates times depth.
    normals_camera = torch.stack(
        [row_x, depth - row_x, row_y, depth - row_y, depth], dim=1
    )  # (F, P, 3)
    normals = torch.nn.functional.normalize(
        normals_camera @ relative.c2w[:, :3, :3].transpose(1, 2), dim=-1
    )
    offsets = normals @ relative.c2w[:, :3, 3:]  # (F, P, 1)
    nearest = (normals @ sphere.centres.T - offsets).amin(
        1
    )  # (F, N) signed distance to the nearest or violated plane
    whole = nearest > sphere.radii
    return whole, ~whole & (nearest >= -sphere.radii)
