"""Numbers from the arms of one scene."""

import torch

from ...cameras.projection import warp_by_rotation
from ...synthetic.panoramas import FilmedView
from ..metrics.consistency import gradient_magnitude, masked_mae, masked_psnr, unseen_region
from ..result import Measures
from .arms import Arms, DetailArms, SceneTurns
from .scenes import HeldOutScene, unseen_overlap

SWEEP_ARMS = ("none", "first", "opposite", "both")
Videos = dict[str, torch.Tensor]  # (F, 3, H, W) by arm


def measure_arms(turns: SceneTurns, arms: Arms) -> Measures:
    """The measures of turn 2 in one scene."""
    videos = decoded(turns, arms)
    # The true view through the codec: the best that any arm can reach.
    ceiling = turns.decode(turns.encode(turns.scene.second))
    seconds = {"ceiling": ceiling, **of_turn(videos, "second")}
    return {
        **region_measures(turns.scene),
        **second_measures(turns.scene, videos["first"], seconds),
    }


def measure_detail_arms(turns: SceneTurns, arms: Arms, details: DetailArms) -> Measures:
    """The measures of the other arms in one scene."""
    videos = {**decoded(turns, details), "first": turns.decode(arms.first)}
    return {
        **second_measures(turns.scene, videos["first"], of_turn(videos, "second")),
        **sweep_measures(turns.scene, videos),
    }


def region_measures(scene: HeldOutScene) -> Measures:
    """Size of turn 2's unseen region, and the difference between true views there.

    This difference is the cost of the warp alone.
    """
    region = unseen_overlap(scene.second, scene.first, scene.source)
    # Two true views agree perfectly, so their difference is the error of interpolation.
    warped, _ = warp_by_rotation(scene.first.frames, scene.first.path, scene.second.path)
    floor = masked_mae(warped, scene.second.frames, region)
    return {"unseen_share": region.float().mean().item(), "unseen_mae_floor": floor}


def second_measures(scene: HeldOutScene, first: torch.Tensor, videos: Videos) -> Measures:
    """Measures of turn 2 of one scene, X being an arm.

    The unseen region lies outside every source frame's view and inside turn 1's view.

    unseen_mae_X: difference to turn 1 as it was made, warped.
    unseen_psnr_X, seen_psnr_X: PSNR to the true view, in the unseen region and where the source
    looked.
    unseen_gradient_X: sharpness in the unseen region.
    """
    truth, path = scene.second.frames, scene.second.path
    # Step 1: where both turns invent, and where the source shows the truth.
    region = unseen_overlap(scene.second, scene.first, scene.source)
    seen = ~unseen_region(path, scene.source.path, *truth.shape[-2:])
    warped, _ = warp_by_rotation(first, scene.first.path, path)
    # Step 2: every arm against turn 1 (agreement) and against the truth (quality).
    measures = {}
    for arm, video in videos.items():
        measures[f"unseen_mae_{arm}"] = masked_mae(warped, video, region)
        measures[f"unseen_psnr_{arm}"] = masked_psnr(truth, video, region)
        measures[f"unseen_gradient_{arm}"] = gradient_magnitude(video, region)
        measures[f"seen_psnr_{arm}"] = masked_psnr(truth, video, seen)
    return measures


def sweep_measures(scene: HeldOutScene, videos: Videos) -> Measures:
    """Measures of turn 3 of one scene.

    sweep_mae_X_on_Y is the difference of arm X to memory Y, warped, where only Y looked.
    """
    measures = {}
    sides: dict[str, tuple[FilmedView, FilmedView]] = {
        "first": (scene.first, scene.opposite),
        "opposite": (scene.opposite, scene.first),
    }
    for side, (covering, other) in sides.items():
        # Pixels that the other memory saw could come from it, so they do not count.
        region = unseen_overlap(scene.sweep, covering, scene.source, other)
        warped, _ = warp_by_rotation(videos[side], covering.path, scene.sweep.path)
        measures[f"sweep_share_{side}"] = region.float().mean().item()
        for arm in SWEEP_ARMS:
            measures[f"sweep_mae_{arm}_on_{side}"] = masked_mae(
                warped, videos[f"sweep_{arm}"], region
            )
    return measures


def decoded(turns: SceneTurns, arms: Arms | DetailArms) -> Videos:
    """The videos of all arms, by name."""
    return {name: turns.decode(latent) for name, latent in vars(arms).items()}


def of_turn(videos: Videos, turn: str) -> Videos:
    """The videos of one turn, such as "second", by the rest of their names."""
    return {
        name.removeprefix(f"{turn}_"): video
        for name, video in videos.items()
        if name.startswith(f"{turn}_")
    }
