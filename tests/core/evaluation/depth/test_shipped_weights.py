"""The shipped weights in held-out scenes with depth."""

import pytest
import torch

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.evaluation.depth.measures import turn_difference
from memv2v_core.evaluation.depth.obedience import moved_by, shown_paths
from memv2v_core.evaluation.depth.scenes import depth_scene
from memv2v_core.evaluation.novel_view.arms import SceneTurns
from memv2v_core.evaluation.novel_view.scenes import FIRST, SECOND


@pytest.mark.slow
@torch.no_grad()
def test_memory_makes_turns_agree_and_cameras_move_in_scenes_never_trained_on() -> None:
    bundle = load_bundle("novel_view_depth")
    # Orbits and dollies: their cameras move.
    scenes = [depth_scene(index, bundle.info) for index in (0, 1)]
    alone, remembering, shares = [], [], []
    for scene in scenes:
        first, second = scene.first, scene.second
        turns = SceneTurns.of(bundle, scene)
        made = turns.sample(turns.turn(first), turns.noise(FIRST))
        shown = turns.decode(made)
        for memories, found in (((), alone), ((turns.memory(made, first),), remembering)):
            clip = turns.decode(turns.sample(turns.turn(second, memories), turns.noise(SECOND)))
            difference, _ = turn_difference(scene.solids, shown, first, clip, second, ~scene.seen)
            found.append(difference)
        assert moved_by(second.path) > 0.2
        (path,) = shown_paths(scene.solids, second, [clip], scene.seen)
        shares.append(path.move)
    assert sum(remembering) < 0.8 * sum(alone)
    # novel_view shows a tenth of a translation, this model 0.6 of it over all scenes.
    assert sum(shares) / len(shares) > 0.2
