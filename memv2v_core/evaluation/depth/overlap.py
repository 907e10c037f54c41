"""VideoFOV against what two paths truly show of the same points.

VideoFOV knows directions on a sphere around the first camera, and no depth. Where cameras move it
must be wrong: things hide each other, and near things leave the view sooner than far ones.
"""

import math
from collections.abc import Sequence

import torch

from ...cameras.trajectory import CameraTrajectory
from ...retrieval.video_fov import video_fov_scores
from ...synthetic.solids.filming import FilmedSolids, film_solids
from ...synthetic.solids.scene import SolidScene
from ...synthetic.solids.visibility import ever_seen
from ..result import Measures
from ..statistics import spearman

# The true overlap is counted on pixels of so small a picture.
SIZE = 48


def true_cover(scene: SolidScene, query: FilmedSolids, candidate: FilmedSolids) -> float:
    """Share of the query's pixels whose point any frame of the candidate shows, 0 to 1."""
    return ever_seen(scene, query, candidate).float().mean().item()


def overlap_measures(
    scene: SolidScene, query: CameraTrajectory, candidates: Sequence[CameraTrajectory]
) -> Measures:
    """How VideoFOV's share of the query that a candidate covers (Eq. 2) fits the true share.

    cover_rank: rank correlation over the candidates. cover_error: mean of VideoFOV minus truth.
    cover_error_moved: the same for the half of the candidates whose camera ends farthest from the
    query's. cover_lost: true share of the truly best candidate minus that of VideoFOV's choice.
    cover_hit: 1 where both are the same candidate.
    """
    seen = film_solids(scene, query, SIZE, SIZE, has_smooth_edges=False)
    films = [film_solids(scene, path, SIZE, SIZE, has_smooth_edges=False) for path in candidates]
    true = torch.tensor([true_cover(scene, seen, film) for film in films])
    told = torch.tensor([score.contain for score in video_fov_scores(query, candidates)])
    apart = torch.tensor(
        [float((path.c2w[-1, :3, 3] - query.c2w[-1, :3, 3]).norm()) for path in candidates]
    )
    # Candidates that turn alone all end at the same distance: halves go by order.
    near, far = apart.argsort(stable=True).chunk(2)
    error, choice = told - true, int(told.argmax())
    rank = spearman(told[None], true[None]).item()
    return {
        "cover_rank": rank if math.isfinite(rank) else math.nan,
        "cover_error": error.mean().item(),
        "cover_error_moved": error[far].abs().mean().item(),
        "cover_error_near": error[near].abs().mean().item(),
        "cover_lost": (true.max() - true[choice]).item(),
        "cover_hit": float(choice == int(true.argmax())),
    }
