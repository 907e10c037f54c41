"""VideoFOV against what two paths truly show of the same points.

VideoFOV takes every point to lie on one sphere around the first camera. Where cameras move its
radius matters, and things hide each other, which it does not know.
"""

import math
from collections.abc import Sequence

import torch

from ...cameras.trajectory import CameraTrajectory
from ...retrieval.video_fov import VideoFovConfig, video_fov_scores
from ...synthetic.solids.filming import FilmedSolids, film_solids
from ...synthetic.solids.scene import SolidScene
from ...synthetic.solids.visibility import ever_seen
from ..result import Measures
from ..statistics import spearman

# The true overlap is counted on pixels of so small a picture.
SIZE = 48
# Of the sphere, in pose units: the nodes' default, and about where the things of the scenes stand.
RADII = (1, 4)


def true_cover(scene: SolidScene, query: FilmedSolids, candidate: FilmedSolids) -> float:
    """Share of the query's pixels whose point any frame of the candidate shows, 0 to 1."""
    return ever_seen(scene, query, candidate).float().mean().item()


def overlap_measures(
    scene: SolidScene, query: CameraTrajectory, candidates: Sequence[CameraTrajectory]
) -> Measures:
    """How VideoFOV fits the true share of the query that a candidate shows, for each of `RADII`.

    Candidates are ranked by the score that the nodes use (Eq. 3). cover_rank: rank correlation over
    the candidates. cover_lost: true share of the truly best candidate minus that of VideoFOV's
    choice. cover_hit: 1 where nothing is lost. cover_error: mean of VideoFOV's covered share
    (Eq. 2) minus the true one. cover_error_near, cover_error_far: its absolute value for the half
    of the candidates whose cameras stay nearest to the query's, and for the other half.
    """
    seen = film_solids(scene, query, SIZE, SIZE, has_smooth_edges=False)
    films = [film_solids(scene, path, SIZE, SIZE, has_smooth_edges=False) for path in candidates]
    true = torch.tensor([true_cover(scene, seen, film) for film in films])
    # Means over the frames: a path may return to its start.
    apart = torch.tensor(
        [(path.c2w - query.c2w)[:, :3, 3].norm(dim=-1).mean().item() for path in candidates]
    )
    # Candidates that turn alone are all at the same distance: halves go by order.
    near, far = apart.argsort(stable=True).chunk(2)
    measures: Measures = {}
    for radius in RADII:
        scores = video_fov_scores(query, candidates, VideoFovConfig(radius=radius))
        ranked = torch.tensor([score.score for score in scores])
        error = torch.tensor([score.contain for score in scores]) - true
        rank = spearman(ranked[None], true[None]).item()
        lost = (true.max() - true[int(ranked.argmax())]).item()
        measures |= {
            f"cover_rank_{radius}": rank if math.isfinite(rank) else math.nan,
            f"cover_lost_{radius}": lost,
            f"cover_hit_{radius}": float(lost == 0),
            f"cover_error_{radius}": error.mean().item(),
            f"cover_error_near_{radius}": error[near].abs().mean().item(),
            f"cover_error_far_{radius}": error[far].abs().mean().item(),
        }
    return measures
