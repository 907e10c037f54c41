import json
import math

import pytest
import torch

from memv2v_core.builtin.bundle import Bundle
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.evaluation.depth.claims import REFRESHES, SomeMeasured
from memv2v_core.evaluation.depth.measures import second_measures, turn_difference
from memv2v_core.evaluation.depth.obedience import (
    LEAST_MOVE,
    moved_by,
    obedience_measures,
    shown_paths,
    stretched,
)
from memv2v_core.evaluation.depth.overlap import overlap_measures, true_cover
from memv2v_core.evaluation.depth.run import evaluate_depth
from memv2v_core.evaluation.depth.scenes import (
    NUM_CANDIDATES,
    DepthScene,
    candidate_paths,
    depth_scene,
)
from memv2v_core.evaluation.novel_view.run import evaluation_record
from memv2v_core.evaluation.side_by_side import compared
from memv2v_core.synthetic.solids.visibility import ever_seen


@pytest.fixture(scope="module")
def scene(bundle: Bundle) -> DepthScene:
    return depth_scene(1, bundle.info)


def test_a_scene_is_the_same_every_time_and_another_for_another_number(bundle: Bundle) -> None:
    first, again, other = (depth_scene(i, bundle.info) for i in (0, 0, 1))
    assert torch.equal(first.second.frames, again.second.frames)
    assert not torch.equal(first.second.frames, other.second.frames)


def test_every_turn_begins_at_the_sources_first_camera_and_moves(scene: DepthScene) -> None:
    for view in (scene.first, scene.second, scene.opposite, scene.sweep):
        torch.testing.assert_close(view.path.c2w[0], scene.source.path.c2w[0])
    # Tilting alone is one of the moves; most of them move the camera.
    assert max(moved_by(view.path) for view in (scene.first, scene.second)) > LEAST_MOVE
    assert moved_by(scene.source.path) > 0


def test_turns_1_and_2_invent_one_region_together(scene: DepthScene) -> None:
    first, second = scene.first, scene.second
    floor, region = turn_difference(
        scene.solids, first.frames, first, second.frames, second, ~scene.seen
    )
    assert region.float().mean() > 0.1
    # True views differ by interpolation alone.
    assert floor < 0.02


def test_a_turn_that_is_wrong_where_the_source_never_looked_is_found(scene: DepthScene) -> None:
    first, second = scene.first, scene.second
    _, region = turn_difference(
        scene.solids, first.frames, first, second.frames, second, ~scene.seen
    )
    wrong = torch.where(region, 1 - second.frames, second.frames)
    right = second_measures(scene, first.frames, {"a": second.frames, "b": wrong})
    assert right["unseen_mae_a"] < 0.02 < 0.1 < right["unseen_mae_b"]
    assert right["seen_psnr_a"] == right["seen_psnr_b"] == math.inf


def test_what_hides_behind_a_thing_does_not_count(scene: DepthScene) -> None:
    first, second = scene.first, scene.second
    _, region = turn_difference(
        scene.solids, first.frames, first, second.frames, second, ~scene.seen
    )
    # Every counted point of turn 2 is one that turn 1 truly shows: nearest along its ray.
    shown = ever_seen(scene.solids, second, first)
    assert bool((shown | ~region).all())
    assert not bool((region & ever_seen(scene.solids, second, scene.source)).any())


@pytest.mark.parametrize(("turn", "move"), [(1.0, 1.0), (1.0, 0.5), (0.85, 1.5)])
def test_the_path_that_a_clip_shows_is_found(scene: DepthScene, turn: float, move: float) -> None:
    lens = lens_intrinsics(60.0, aspect=1.0)
    path = make_preset(PresetConfig("orbit_left", 16.0, 5, orbit_distance=3.0), lens)
    asked, shown = scene.film(path), scene.film(stretched(path, turn, move))
    everywhere = torch.ones(5, 1, 64, 64, dtype=torch.bool)
    (found,) = shown_paths(scene.solids, asked, [shown.frames], everywhere)
    assert found.turn == pytest.approx(turn, abs=0.08)
    assert found.move == pytest.approx(move, abs=0.2)


def test_translation_of_a_path_that_only_turns_is_not_measured(scene: DepthScene) -> None:
    lens = lens_intrinsics(60.0, aspect=1.0)
    view = scene.film(make_preset(PresetConfig("pan_right", 30.0, 5), lens))
    everywhere = torch.ones(5, 1, 64, 64, dtype=torch.bool)
    found = obedience_measures(scene.solids, view, {"truth": view.frames}, everywhere)
    assert math.isnan(found["move_share_truth"])
    assert found["turn_error_truth"] < 0.08


def test_a_path_covers_itself_and_not_the_other_side(scene: DepthScene) -> None:
    lens = lens_intrinsics(60.0, aspect=1.0)
    left, right = (
        scene.film(make_preset(PresetConfig(name, 45.0, 5, speed=4.0), lens).frames((2, 3, 4)))
        for name in ("pan_left", "pan_right")
    )
    # The edge pixels of a view lie on its border; a face seen edge-on counts as unseen.
    assert true_cover(scene.solids, left, left) > 0.97
    assert true_cover(scene.solids, left, right) < 0.05


def test_video_fov_is_compared_with_the_true_overlap(bundle: Bundle, scene: DepthScene) -> None:
    candidates = candidate_paths(1, bundle.info)
    assert len(candidates) == NUM_CANDIDATES
    found = overlap_measures(scene.solids, scene.second.path, candidates)
    assert found["cover_rank"] > 0.3
    assert 0 <= found["cover_lost"] <= 1
    # Among paths that turn about one centre VideoFOV is nearly exact, far things or near.
    lens = lens_intrinsics(60.0, aspect=1.0)
    turns = [
        make_preset(PresetConfig("pan_right", amplitude, 5), lens) for amplitude in (5, 18, 31, 44)
    ]
    exact = overlap_measures(scene.solids, turns[3], turns)
    assert exact["cover_rank"] == pytest.approx(1)
    assert exact["cover_hit"] == 1
    assert abs(exact["cover_error"]) < 0.1


def test_scenes_without_a_number_do_not_count() -> None:
    some = SomeMeasured({"a": torch.tensor([1.0, 2.0, math.nan]), "b": torch.tensor([1.0, 1, 1])})
    assert some.mean("a").value == 1.5
    assert some.ratio("a", "b").value == 1.5
    assert some.difference("a", "b").num_scenes == 2


@pytest.mark.slow
def test_an_evaluation_with_depth_runs_end_to_end(bundle: Bundle) -> None:
    evaluation = evaluate_depth(bundle, num_scenes=3, num_detail_scenes=2)
    record = evaluation_record(evaluation, torch.device("cpu"), "command", (bundle.info,))
    read = json.loads(json.dumps(record, allow_nan=False))
    names = [claim["claim"] for claim in read["claims"]]
    assert len(set(names)) == len(names)
    assert sum("refresh every" in name for name in names) == len(REFRESHES)
    assert "sweep_mae_both_on_first" in read["scenes"][1]
    assert "sweep_mae_both_on_first" not in read["scenes"][2]


def test_more_detail_scenes_than_scenes_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="detail scenes got 3, wanted 2 to 2"):
        evaluate_depth(bundle, num_scenes=2, num_detail_scenes=3)


def _record(**values: float) -> dict[str, object]:
    claims = [
        {"claim": name, "value": value, "interval": [value, value], "unit": "", "bar": ""}
        for name, value in values.items()
    ]
    return {"claims": claims}


def test_a_comparison_says_which_rows_got_better() -> None:
    old = _record(**{"unseen region: MAE to turn 1": 0.04, "source region: PSNR": 26.0})
    new = _record(**{"unseen region: MAE to turn 1": 0.03, "source region: PSNR": 25.0})
    lines = compared([old, new], ["old", "new"]).splitlines()
    assert lines[2].endswith("| yes |")
    assert lines[3].endswith("| no |")


def test_records_of_different_tables_are_not_compared() -> None:
    with pytest.raises(ValueError, match="new got other rows than old"):
        compared([_record(a=1.0), _record(b=1.0)], ["old", "new"])
