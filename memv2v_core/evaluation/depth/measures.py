"""Numbers from the arms of one scene of solids.

As `novel_view.measures`, with exact geometry in place of a homography: a pixel is compared where
both turns show the same point in the same frame and nothing hides it, and it is unseen where no
frame of the source shows its point.
"""

import torch

from ...synthetic.solids.filming import FilmedSolids
from ...synthetic.solids.scene import SolidScene
from ...synthetic.solids.visibility import ever_seen, warp_by_depth
from ..metrics.consistency import gradient_magnitude, masked_mae, masked_psnr
from ..novel_view.arms import Arms, DetailArms, SceneTurns
from ..novel_view.measures import SWEEP_ARMS, Videos, decoded, of_turn
from ..result import Measures
from .scenes import DepthScene


def turn_difference(
    scene: SolidScene,
    first: torch.Tensor,
    first_view: FilmedSolids,
    second: torch.Tensor,
    second_view: FilmedSolids,
    unseen: torch.Tensor,
) -> tuple[float, torch.Tensor]:
    """Mean absolute difference of two turns where the source never looked, and the region.

    first, second: (F, 3, H, W) in [0, 1], made along the paths of their views. unseen:
    (F, 1, H, W), pixels of the second turn whose point no frame of the source shows. The region
    (F, 1, H, W) holds those of them whose point the first turn shows in the same frame. NaN where
    it is empty.
    """
    warped, known = warp_by_depth(scene, first, first_view, second_view)
    region = known & unseen
    return masked_mae(warped, second, region), region


def measure_depth_arms(turns: SceneTurns, arms: Arms) -> Measures:
    """The measures of turn 2 in one scene."""
    videos = decoded(turns, arms)
    # The true view through the codec: the best that any arm can reach.
    ceiling = turns.decode(turns.encode(turns.scene.second))
    seconds = {"ceiling": ceiling, **of_turn(videos, "second")}
    scene = _scene(turns)
    return {**region_measures(scene), **second_measures(scene, videos["first"], seconds)}


def measure_depth_details(turns: SceneTurns, arms: Arms, details: DetailArms) -> Measures:
    """The measures of the other arms in one scene."""
    videos = {**decoded(turns, details), "first": turns.decode(arms.first)}
    scene = _scene(turns)
    return {
        **second_measures(scene, videos["first"], of_turn(videos, "second")),
        **sweep_measures(scene, videos),
    }


def region_measures(scene: DepthScene) -> Measures:
    """Size of turn 2's unseen region, the difference between true views there, which is the cost of
    the warp alone, and the shares of it that show things and things that move.
    """
    size = scene.region.sum()
    warped, _ = scene.warped(scene.first.frames)
    floor = masked_mae(warped, scene.second.frames, scene.region)
    return {
        "unseen_share": scene.region.float().mean().item(),
        "unseen_mae_floor": floor,
        "things_share": ((scene.region & scene.things).sum() / size).item(),
        "moving_share": ((scene.region & scene.moving).sum() / size).item(),
    }


def second_measures(scene: DepthScene, first: torch.Tensor, videos: Videos) -> Measures:
    """Measures of turn 2, X being an arm; names as in `novel_view.measures`.

    things_mae_X: unseen_mae_X on things alone, without floor, walls and sky, which are easier to
    guess.
    """
    truth, region, seen = scene.second.frames, scene.region, scene.seen
    # Step 1: turn 1 in turn 2's view, and where both invent things.
    warped, _ = scene.warped(first)
    things = region & scene.things
    # Step 2: every arm against turn 1 (agreement) and against the truth (quality).
    measures = {}
    for arm, video in videos.items():
        measures[f"unseen_mae_{arm}"] = masked_mae(warped, video, region)
        measures[f"things_mae_{arm}"] = masked_mae(warped, video, things)
        measures[f"unseen_psnr_{arm}"] = masked_psnr(truth, video, region)
        measures[f"unseen_gradient_{arm}"] = gradient_magnitude(video, region)
        measures[f"seen_psnr_{arm}"] = masked_psnr(truth, video, seen)
    return measures


def sweep_measures(scene: DepthScene, videos: Videos) -> Measures:
    """Measures of turn 3; names as in `novel_view.measures`."""
    first, sweep, opposite = scene.first, scene.sweep, scene.opposite
    unseen = ~ever_seen(scene.solids, sweep, scene.source)
    measures = {}
    for side, covering, other in (
        ("first", first, opposite),
        ("opposite", opposite, first),
    ):
        warped, known = warp_by_depth(scene.solids, videos[side], covering, sweep)
        # Pixels that the other memory saw could come from it, so they do not count.
        region = known & unseen & ~ever_seen(scene.solids, sweep, other)
        measures[f"sweep_share_{side}"] = region.float().mean().item()
        for arm in SWEEP_ARMS:
            measures[f"sweep_mae_{arm}_on_{side}"] = masked_mae(
                warped, videos[f"sweep_{arm}"], region
            )
    return measures


def _scene(turns: SceneTurns) -> DepthScene:
    assert isinstance(turns.scene, DepthScene)
    return turns.scene
