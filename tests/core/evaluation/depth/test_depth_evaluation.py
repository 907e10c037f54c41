import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from memv2v_core.builtin.bundle import Bundle
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.evaluation.__main__ import main as command
from memv2v_core.evaluation.depth.claims import (
    REFRESHES,
    SomeMeasured,
    moving_claims,
    obedience_claims,
)
from memv2v_core.evaluation.depth.measures import (
    region_measures,
    second_measures,
    turn_difference,
)
from memv2v_core.evaluation.depth.obedience import (
    LEAST_MOVE,
    moved_by,
    obedience_measures,
    shown_paths,
    stretched,
)
from memv2v_core.evaluation.depth.overlap import RADII, overlap_measures, true_cover
from memv2v_core.evaluation.depth.run import evaluate_depth
from memv2v_core.evaluation.depth.scenes import (
    NUM_CANDIDATES,
    DepthScene,
    candidate_paths,
    depth_scene,
)
from memv2v_core.evaluation.novel_view.run import evaluation_record
from memv2v_core.evaluation.side_by_side import compared, read_record
from memv2v_core.synthetic.solids.filming import film_solids
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


def test_things_and_moving_things_are_told_apart(scene: DepthScene) -> None:
    assert bool((scene.things | ~scene.moving).all())
    assert 0 < scene.moving.float().mean() < scene.things.float().mean() < 1
    # What moves is elsewhere in another frame: its points there are not those of the still world.
    still = replace(scene.solids, swing=torch.zeros_like(scene.solids.swing))
    other = film_solids(still, scene.second.path, *scene.second.frames.shape[-2:])
    differs = (other.frames - scene.second.frames).abs().amax(1, keepdim=True) > 0.05
    assert differs[scene.moving].float().mean() > 0.5
    measures = region_measures(scene)
    assert 0 <= measures["moving_share"] <= measures["things_share"] < 1


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
    for radius in RADII:
        assert found[f"cover_rank_{radius}"] > 0.3
        assert 0 <= found[f"cover_lost_{radius}"] <= 1
        assert found[f"cover_hit_{radius}"] == (found[f"cover_lost_{radius}"] == 0)
    # Things stand 2 to 7 units away, so the larger sphere is nearer to the truth.
    assert found["cover_error_far_4"] < found["cover_error_far_1"]
    # Among paths that turn about one centre VideoFOV is nearly exact, far things or near.
    lens = lens_intrinsics(60.0, aspect=1.0)
    turns = [
        make_preset(PresetConfig("pan_right", amplitude, 5), lens) for amplitude in (5, 18, 31, 44)
    ]
    exact = overlap_measures(scene.solids, turns[3], turns)
    assert exact["cover_rank_1"] == pytest.approx(1)
    assert exact["cover_hit_1"] == 1
    assert abs(exact["cover_error_1"]) < 0.1
    # Cameras that only turn see one sphere as any other.
    assert exact["cover_error_1"] == exact["cover_error_4"]


def test_scenes_without_a_number_do_not_count() -> None:
    some = SomeMeasured({"a": torch.tensor([1.0, 2.0, math.nan]), "b": torch.tensor([1.0, 1, 1])})
    assert some.mean("a").value == 1.5
    assert some.ratio("a", "b").value == 1.5
    assert some.difference("a", "b").num_scenes == 2
    alone = SomeMeasured({"a": torch.tensor([1.0, math.nan])}).mean("a")
    assert alone.num_scenes == 1
    assert math.isnan(alone.value)


def test_a_clip_at_an_end_of_the_search_is_told_from_one_that_does_not_move() -> None:
    shares = torch.tensor([-0.5, 0.0, 0.4, 2.0, math.nan], dtype=torch.float64)
    values = {
        f"{what}_{kind}_{arm}": shares
        for what in ("turn", "move")
        for kind in ("share", "error")
        for arm in ("truth", "none", "memory")
    }
    found = {claim.name: claim.estimate for claim in obedience_claims(SomeMeasured(values))}
    assert found["... clips that no tried path fits, with memory, translation"].value == 0.5
    assert found["... its median, with memory, translation"].value == pytest.approx(0.2)
    assert found["... its median, with memory, translation"].num_scenes == 4


def test_turns_that_only_rotate_do_not_count_where_cameras_move() -> None:
    values = {
        "unseen_mae_none": torch.tensor([0.1, 0.2, 0.3]),
        "unseen_mae_memory": torch.tensor([0.1, 0.1, 0.1]),
        "first_moves_by": torch.tensor([0.0, 0.5, 0.5]),
        "second_moves_by": torch.tensor([0.5, 0.5, 0.5]),
    }
    _, ratio = moving_claims(SomeMeasured(values))
    assert ratio.estimate.value == pytest.approx(0.4)
    assert ratio.estimate.num_scenes == 2


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


def test_fewer_than_two_scenes_are_refused_by_their_number(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="scenes got 1, wanted at least 2 .* raise --scenes"):
        evaluate_depth(bundle, num_scenes=1, num_detail_scenes=2)


def _record(**values: float) -> dict[str, object]:
    claims = [
        {
            "claim": name,
            "value": value,
            "interval": [value - 0.5, value + 0.5],
            "unit": "",
            "bar": "<= 4",
            "num_scenes": 3,
            "passed": value <= 4,
        }
        for name, value in values.items()
    ]
    return {"claims": claims, "num_scenes": 3}


def test_a_comparison_says_which_rows_got_better_and_which_miss_their_bar() -> None:
    names = ("unseen region: MAE to turn 1", "source region: PSNR", "things: PSNR", "VideoFOV")
    old = _record(**dict(zip(names, (4.0, 26.0, 3.0, 1.0), strict=True)))
    new = _record(**dict(zip(names, (3.0, 25.0, 3.4, 3.0), strict=True)))
    lines = compared([old, new], ["old", "new"]).splitlines()
    assert lines[0] == "| Measure | Asked | old, 3 scenes | new, 3 scenes | better? |"
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["yes |", "no |", "even |", " |"]
    assert "at most 4 | 4 (3.5 to 4.5) |" in lines[2]
    assert lines[3].count("**missed**") == 2


def test_records_of_different_tables_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="new got other rows than old"):
        compared([_record(a=1.0), _record(b=1.0)], ["old", "new"])
    for content in ("", "{", '{"a": 1}', "[]"):
        path = tmp_path / "broken.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"broken\.json .* wanted a file that an evaluation's"):
            read_record(path)


def test_bad_arguments_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no" / "table.json"
    for arguments, words in (
        (["--task", "depth", "--scenes", "1"], "scenes got 1"),
        (["--task", "depth", "--output", str(missing)], "stands in no folder"),
        (["--task", "long", "--output", str(missing)], "stands in no folder"),
        (["--task", "compare", str(missing)], "cannot be read"),
    ):
        assert command(arguments) == 1
        assert words in capsys.readouterr().err
