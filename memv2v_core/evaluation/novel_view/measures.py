"""From the arms of one batch to numbers for every scene."""

import torch

from ...cameras.projection import warp_by_rotation
from ...training.data.novel_view import View
from ..metrics.consistency import gradient_magnitude, masked_mae, masked_psnr, unseen_region
from .arms import Arms, Batch, DetailArms, decode, encode
from .held_out import HeldOutScene, unseen_overlap

SWEEP_ARMS = ("none", "first", "opposite", "both")
Videos = dict[str, torch.Tensor]  # (B or no B, F, 3, H, W) by arm
Measures = dict[str, float]


def measure_arms(batch: Batch, arms: Arms) -> list[Measures]:
    """The measures of turn 2 for every scene of the batch."""
    videos = _decoded(batch, arms)
    ceiling = decode(batch.bundle, encode(batch.bundle, [scene.second for scene in batch.scenes]))
    seconds = {"ceiling": ceiling, **_turns(videos, "second")}
    return [
        {**region_measures(scene), **second_measures(scene, videos["first"][i], _row(seconds, i))}
        for i, scene in enumerate(batch.scenes)
    ]


def measure_detail_arms(batch: Batch, arms: Arms, details: DetailArms) -> list[Measures]:
    """The measures of the other arms for every scene of the batch."""
    videos = {**_decoded(batch, details), "first": decode(batch.bundle, arms.first)}
    seconds = _turns(videos, "second")
    return [
        {
            **second_measures(scene, videos["first"][i], _row(seconds, i)),
            **sweep_measures(scene, _row(videos, i)),
        }
        for i, scene in enumerate(batch.scenes)
    ]


def region_measures(scene: HeldOutScene) -> Measures:
    """Size of turn 2's unseen region, and the difference between true views there: what warping
    alone costs.
    """
    region = unseen_overlap(scene.second, scene.first, scene.source)
    warped, _ = warp_by_rotation(scene.first.frames, scene.first.path, scene.second.path)
    floor = masked_mae(warped, scene.second.frames, region)
    return {"unseen_share": region.float().mean().item(), "unseen_mae_floor": floor}


def second_measures(scene: HeldOutScene, first: torch.Tensor, videos: Videos) -> Measures:
    """Turn 2 of one scene, in the region outside every source frame's view and inside turn 1's, and
    where seen.

    unseen_mae_X: of arm X to turn 1 as it was made, warped. unseen_psnr_X and seen_psnr_X: to the
    true view.
    unseen_gradient_X: sharpness.
    """
    truth, path = scene.second.frames, scene.second.path
    region = unseen_overlap(scene.second, scene.first, scene.source)
    seen = ~unseen_region(path, scene.source.path, *truth.shape[-2:])
    warped, _ = warp_by_rotation(first, scene.first.path, path)
    measures = {}
    for arm, video in videos.items():
        measures[f"unseen_mae_{arm}"] = masked_mae(warped, video, region)
        measures[f"unseen_psnr_{arm}"] = masked_psnr(truth, video, region)
        measures[f"unseen_gradient_{arm}"] = gradient_magnitude(video, region)
        measures[f"seen_psnr_{arm}"] = masked_psnr(truth, video, seen)
    return measures


def sweep_measures(scene: HeldOutScene, videos: Videos) -> Measures:
    """Turn 3 of one scene: sweep_mae_X_on_Y is the difference of arm X to memory Y, warped, where Y
    alone looked.
    """
    measures = {}
    sides: dict[str, tuple[View, View]] = {
        "first": (scene.first, scene.opposite),
        "opposite": (scene.opposite, scene.first),
    }
    for side, (covering, other) in sides.items():
        region = unseen_overlap(scene.sweep, covering, scene.source, other)
        warped, _ = warp_by_rotation(videos[side], covering.path, scene.sweep.path)
        measures[f"sweep_share_{side}"] = region.float().mean().item()
        for arm in SWEEP_ARMS:
            measures[f"sweep_mae_{arm}_on_{side}"] = masked_mae(
                warped, videos[f"sweep_{arm}"], region
            )
    return measures


def _decoded(batch: Batch, arms: Arms | DetailArms) -> Videos:
    return {name: decode(batch.bundle, latent) for name, latent in vars(arms).items()}


def _turns(videos: Videos, turn: str) -> Videos:
    return {
        name.removeprefix(f"{turn}_"): video
        for name, video in videos.items()
        if name.startswith(f"{turn}_")
    }


def _row(videos: Videos, i: int) -> Videos:
    return {name: video[i] for name, video in videos.items()}
