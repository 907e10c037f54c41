"""How much of one camera path's view another path has seen: VideoFOV, exact and fast.

F frames, M sphere points, P paths. Points lie on a latitude-longitude grid around the target's
first camera. They crowd at the poles, and the paper's scores include this effect.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from ..cameras.trajectory import CameraTrajectory
from .footprints import blocks, footprints
from .sphere_grid import SphereGrid, make_grid

# A camera that moves by less, in shares of the radius, sees nearly the same points.
_SMALL_MOVE = 0.1


@dataclass(frozen=True)
class VideoFovConfig:
    """The sphere of points and the weight between the two scores.

    num_rows, num_columns: latitudes and longitudes; their product is M, 64,800 in the paper.
    radius: of the sphere, in pose units: about the distance of what is filmed. It matters only
    where cameras move.
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
                f"radius got {self.radius}, wanted a finite number above 0; use about the distance "
                "of what you film, in pose units: 4 fits novel_view_depth, and any number fits "
                "cameras that only rotate"
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


def video_fov_scores(
    query: CameraTrajectory,
    candidates: Sequence[CameraTrajectory],
    config: VideoFovConfig | None = None,
) -> tuple[FovScore, ...]:
    """The scores of every candidate for this query, in the candidates' order.

    All paths are in one world space. The memory that it takes does not grow with the number of
    candidates. As many threads work on them as torch uses.

    Raises: ValueError when the query sees no point of the sphere.

    Source: Alg. 1, Eq. 1-3, arXiv:2601.16296v2.
    Departs from the paper: camera space is R^T (p - t), since Alg. 1's relative R is
    camera-to-world.
    """
    config = config or VideoFovConfig()
    grid = _grid(config)
    # The query's field of view, once for all candidates.
    target = footprints(grid, [query], query)
    num_target = int(grid.count(target)[0])
    if num_target == 0:
        raise ValueError(
            f"the query's camera path sees 0 of {config.num_rows * config.num_columns} sphere "
            "points, wanted at least 1; use a wider lens, a finer grid or a larger radius"
        )

    def scores(block: range) -> list[FovScore]:
        seen = footprints(grid, [candidates[idx] for idx in block], query)
        both, either = grid.count(seen & target), grid.count(seen | target)
        return [
            _score(*counts, num_target, config.balance)
            for counts in zip(both.tolist(), either.tolist(), strict=True)
        ]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return tuple(score for found in pool.map(scores, blocks(candidates)) for score in found)


def video_fov_mask(
    trajectory: CameraTrajectory, reference: CameraTrajectory, config: VideoFovConfig | None = None
) -> torch.Tensor:
    """True (rows, columns) at sphere points that any frame of the path sees.

    The sphere lies around `reference`'s first camera. Drawn as a picture, the mask is a panorama:
    its centre is the direction of that camera, with +X right and +Y down.
    """
    return video_fov_masks([trajectory], reference, config)[0]


def video_fov_masks(
    trajectories: Sequence[CameraTrajectory],
    reference: CameraTrajectory,
    config: VideoFovConfig | None = None,
) -> torch.Tensor:
    """`video_fov_mask` of every path, (P, rows, columns)."""
    config = config or VideoFovConfig()
    grid = _grid(config)
    masks = torch.empty(len(trajectories), config.num_rows, config.num_columns, dtype=torch.bool)
    for block in blocks(trajectories):
        seen = footprints(grid, [trajectories[idx] for idx in block], reference)
        masks[block.start : block.stop] = torch.from_numpy(grid.unpacked(seen))
    return masks


def radius_remark(paths: Sequence[CameraTrajectory], radius: float) -> str:
    """What to set where cameras move and the radius is still the default, in words; else "".

    paths: the query and its candidates, in one world space. With fewer than two candidates nothing
    is chosen, so nothing is said.
    """
    if radius != VideoFovConfig.radius or len(paths) < 3:
        return ""
    places = torch.cat([path.c2w[:, :3, 3] for path in paths])  # (N, 3)
    far = float((places - places[0]).norm(dim=1).max())
    if far <= _SMALL_MOVE * radius:
        return ""
    return (
        f"cameras move up to {far:.3g} pose units and radius is {radius:g}, its default; if what "
        "you film is farther away, set radius to about its distance (4 fits novel_view_depth)"
    )


def sphere_points(config: VideoFovConfig) -> torch.Tensor:
    """Points (M, 3) float64, row by row, of the grid of Eq. 9.

    theta = (u + 0.5) pi / rows, counted from -Y; phi = (v + 0.5) 2 pi / columns.
    """
    return torch.from_numpy(_grid(config).points.reshape(-1, 3).copy())


def _grid(config: VideoFovConfig) -> SphereGrid:
    return make_grid(config.num_rows, config.num_columns, config.radius)


def _score(both: int, either: int, num_target: int, balance: float) -> FovScore:
    # Eq. 2, both measures.
    overlap, contain = both / either, both / num_target
    # Eq. 3.
    return FovScore(overlap, contain, balance * overlap + (1 - balance) * contain)
