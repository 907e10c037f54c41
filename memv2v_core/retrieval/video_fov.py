"""How much of one camera path's view another path has seen: VideoFOV, exact and fast.

F frames, M sphere points, N blocks of neighbouring points, P = 5 planes that bound a view. Points
lie on a latitude-longitude grid around the target's first camera. They crowd at the poles, and the
paper's scores include this effect.

The planes alone decide blocks that lie wholly inside or outside a view. A point is projected only
when the border of a view crosses its block and no earlier frame has seen it. The result equals a
test of every point in every frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..cameras.projection import inside_image, project_points, unique_cameras
from ..cameras.trajectory import CameraTrajectory

# Grid rows and columns in a block.
_BLOCK_SIDE = 6
# Blocks this near to a plane, in radii of the sphere, are tested point by point. The margin is far
# above the rounding of float64.
_MARGIN = 1e-6


@dataclass(frozen=True)
class VideoFovConfig:
    """The sphere of points and the weight between the two scores.

    num_rows, num_columns: latitudes and longitudes; their product is M, 64,800 in the paper.
    radius: of the sphere, in pose units. It matters only where cameras move.
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
    """How well a candidate's view fits the query's view. All numbers are in 0..1.

    overlap: intersection over union, Eq. 2.
    contain: share of the query that the candidate covers, Eq. 2.
    score: their mix, Eq. 3.
    """

    overlap: float
    contain: float
    score: float


@dataclass(frozen=True, eq=False)
class _Sphere:
    """The sphere points in blocks.

    points: (M, 3). block_idx: (M,), the block that each point lies in. centres, radii: (N, 3) and
    (N,), bounding balls of the blocks.
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
    """The scores of every candidate for this query, in the candidates' order.

    All paths are in one world space.

    Raises: ValueError when the query sees no point of the sphere.

    Source: Alg. 1, Eq. 1-3, arXiv:2601.16296v2.
    Departs from the paper: camera space is R^T (p - t), since Alg. 1's relative R is
    camera-to-world.
    """
    config = config or VideoFovConfig()
    sphere = _make_sphere(config)
    # The query's field of view, once for all candidates.
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
    """True (rows, columns) at sphere points that any frame of the path sees.

    The sphere lies around `reference`'s first camera. Drawn as a picture, the mask is a panorama:
    its centre is the direction of that camera, with +X right and +Y down.
    """
    config = config or VideoFovConfig()
    return _seen_points(trajectory, reference, _make_sphere(config)).reshape(
        config.num_rows, config.num_columns
    )


def sphere_points(config: VideoFovConfig) -> torch.Tensor:
    """Points (M, 3) float64, row by row, of the grid of Eq. 9.

    theta = (u + 0.5) pi / rows, counted from -Y; phi = (v + 0.5) 2 pi / columns.
    """
    theta = (torch.arange(config.num_rows, dtype=torch.float64) + 0.5) * (math.pi / config.num_rows)
    phi = (torch.arange(config.num_columns, dtype=torch.float64) + 0.5) * (
        2 * math.pi / config.num_columns
    )
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")  # each (rows, columns)
    directions = torch.stack(
        [-theta.sin() * phi.sin(), -theta.cos(), -theta.sin() * phi.cos()], dim=-1
    )
    return config.radius * directions.reshape(-1, 3)


def _score(target: torch.Tensor, other: torch.Tensor, balance: float) -> FovScore:
    both = int((target & other).sum())
    # Eq. 2, both measures.
    overlap = both / int((target | other).sum())
    contain = both / int(target.sum())
    # Eq. 3.
    return FovScore(overlap, contain, balance * overlap + (1 - balance) * contain)


def _make_sphere(config: VideoFovConfig) -> _Sphere:
    points = sphere_points(config)
    # Step 1: the block of every point.
    rows = torch.arange(config.num_rows) // _BLOCK_SIDE
    columns = torch.arange(config.num_columns) // _BLOCK_SIDE
    num_block_columns = int(columns[-1]) + 1
    block_idx = (rows[:, None] * num_block_columns + columns).flatten()  # (M,)
    num_blocks = int(block_idx[-1]) + 1
    # Step 2: a ball around every block, centred at the mean of its points.
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
    """True (M,) at sphere points that any frame sees: the video-level field of view.

    This is Eq. 1, the union over the frames, and the set F of Alg. 1.
    """
    # Repeated cameras see nothing new.
    relative = unique_cameras(_relative_path(trajectory, reference))
    whole, crossed = _classify_blocks(relative, sphere)  # each (F, N)
    # Step 1: blocks that lie wholly inside some frame.
    seen_blocks = whole.any(0)
    seen = seen_blocks[sphere.block_idx]  # (M,)
    # Step 2: the points on the border of some frame, tested one by one until a frame sees them.
    pending_idx = (crossed.any(0) & ~seen_blocks)[sphere.block_idx].nonzero()[:, 0]
    for c2w, lens, crossed_now in zip(relative.c2w, relative.intrinsics, crossed, strict=True):
        test_idx = pending_idx[crossed_now[sphere.block_idx[pending_idx]]]
        if len(test_idx):
            seen[test_idx] = inside_image(*project_points(sphere.points[test_idx], c2w, lens))
            pending_idx = pending_idx[~seen[pending_idx]]
    return seen


def _relative_path(trajectory: CameraTrajectory, reference: CameraTrajectory) -> CameraTrajectory:
    """Alg. 1's RelativePose: R_ref^T R and R_ref^T (t - t_ref).

    It uses the transpose: files round matrices, and the inverse of a rounded matrix is no rotation.
    """
    rotation_ref = reference.c2w[0, :3, :3]
    c2w = trajectory.c2w.clone()
    c2w[:, :3, :3] = rotation_ref.T @ trajectory.c2w[:, :3, :3]
    # Row vectors: (t - t_ref) @ R_ref equals R_ref^T (t - t_ref).
    c2w[:, :3, 3] = (trajectory.c2w[:, :3, 3] - reference.c2w[0, :3, 3]) @ rotation_ref
    return CameraTrajectory(c2w, trajectory.intrinsics)


def _classify_blocks(
    relative: CameraTrajectory, sphere: _Sphere
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two masks (F, N): blocks wholly inside a frame's view, and blocks on its border.

    A block on the border may hold points on both sides.
    """
    row_x, row_y = relative.intrinsics[:, 0], relative.intrinsics[:, 1]  # each (F, 3)
    depth = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(row_x)
    # Inside: x >= 0, x < depth, y >= 0, y < depth, depth > 0 for image coordinates times depth.
    normals_camera = torch.stack(
        [row_x, depth - row_x, row_y, depth - row_y, depth], dim=1
    )  # (F, P, 3)
    # In world space a plane is normal . p = offset, with a unit normal that points inside.
    normals = torch.nn.functional.normalize(
        normals_camera @ relative.c2w[:, :3, :3].transpose(1, 2), dim=-1
    )
    offsets = normals @ relative.c2w[:, :3, 3:]  # (F, P, 1)
    # Signed distance (F, N) of each centre to the plane that is nearest, or violated most.
    nearest = (normals @ sphere.centres.T - offsets).amin(1)
    whole = nearest > sphere.radii
    return whole, ~whole & (nearest >= -sphere.radii)
