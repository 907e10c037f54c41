"""Memory under a disturbance that is measured: wrong cameras, scores that fade, rough numbers."""

from dataclasses import replace

import torch

from ...cache.memory_cache import MemoryCache
from ...cameras.trajectory import CameraTrajectory
from ...retrieval.selection import RankedEntry, Retrieval, choose
from ...retrieval.video_fov import video_fov_scores
from ..suites.methods import MadeConfig


def retrieve_disturbed(
    cache: MemoryCache,
    query: CameraTrajectory,
    k: int,
    config: MadeConfig,
    generator: torch.Generator,
) -> Retrieval:
    """The `k` entries that saw most of the query's view, as a wrong or fading memory knows it.

    Every stored path turns as a whole by `pose_noise_deg`: a constant error, as an estimated camera
    has it. The model still sees the true cameras, so only the choice and the ranks change. Scores
    fade with `recency`.

    generator: draws the errors in the order of the entries, so that an entry keeps its own.
    """
    if not cache.entries:
        return Retrieval(query, ())
    paths = [
        replace(path, c2w=_turned(path.c2w, config.pose_noise_deg, generator))
        for path in (entry.true_camera for entry in cache.entries)
    ]
    newest = max(entry.turn for entry in cache.entries)
    candidates = [
        RankedEntry(
            entry,
            fov.score * config.recency ** (newest - entry.turn),
            fov.overlap,
            fov.contain,
        )
        for entry, fov in zip(cache.entries, video_fov_scores(query, paths), strict=True)
    ]
    ranked, rejected = choose(candidates, k)
    return Retrieval(query, ranked, rejected)


def quantised(latent: torch.Tensor, bits: int) -> torch.Tensor:
    """A latent (C, T, H, W) as a file of `bits` bits a number holds it.

    Each channel has 2^bits evenly spaced levels between its least and its largest value.
    """
    low, high = latent.amin((1, 2, 3), keepdim=True), latent.amax((1, 2, 3), keepdim=True)
    step = (high - low).clamp(min=1e-6) / (2**bits - 1)
    return ((latent - low) / step).round() * step + low


def _turned(c2w: torch.Tensor, spread_deg: float, generator: torch.Generator) -> torch.Tensor:
    """Camera-to-world (F, 4, 4), turned about one random axis of the camera."""
    from kornia.geometry.conversions import axis_angle_to_rotation_matrix

    axis = torch.randn(3, generator=generator, dtype=torch.float64)
    angle = torch.deg2rad(torch.randn((), generator=generator, dtype=torch.float64) * spread_deg)
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = axis_angle_to_rotation_matrix((axis / axis.norm() * angle)[None])[0]
    return (c2w.to(torch.float64) @ turn).to(c2w.dtype)
