"""Verdicts: what two videos are said to be, in plain words."""

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.evaluation.session_report import ShownTurn
from memv2v_core.evaluation.verdicts import (
    compare_all,
    compare_pair,
    named_pair,
    stride_for,
    thinned,
)
from memv2v_core.synthetic.panoramas import SceneConfig, make_scene, render_panorama

LENS = intrinsics_matrix(0.8660254, 0.8660254)  # 60 degrees wide
NUM_FRAMES, SIDE = 4, 32
SOURCE = static_trajectory(NUM_FRAMES, LENS)


def path(motion: str, amplitude: float, num_frames: int = NUM_FRAMES) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, num_frames), LENS)


def turn(number: int, camera: CameraTrajectory, seed: int = 1) -> ShownTurn:
    config = SceneConfig(num_shapes=16, panorama_width=256)
    scene = make_scene(config, torch.Generator().manual_seed(seed))
    return ShownTurn(f"turn {number}", render_panorama(scene, camera, SIDE, SIDE), camera)


def test_one_scene_agrees_and_two_scenes_differ() -> None:
    a, b = path("pan_right", 40), path("pan_right", 32)
    same = compare_pair(turn(1, a), turn(3, b), SOURCE)
    assert same.text.startswith("turns 1 and 3 agree: 0.0")
    assert same.text.endswith(" % of the picture")
    assert same.disagreement is not None
    other = compare_pair(turn(1, a), turn(3, b, seed=2), SOURCE)
    assert other.text.startswith("turns 1 and 3 differ: 0.")


def test_views_that_never_meet_are_told_from_views_that_meet_in_the_source() -> None:
    right, left = path("pan_right", 20), path("pan_left", 20)
    # At 20 degrees both still see the middle, which the source saw.
    inside = compare_pair(turn(1, right), turn(2, left), SOURCE)
    assert inside.text == (
        "turns 1 and 2 look at the same place only where the source looked too, which is not "
        "measured"
    )
    assert inside.disagreement is None
    everything = compare_pair(turn(1, right), turn(2, left))
    assert everything.disagreement is not None
    far = static_trajectory(NUM_FRAMES, LENS)
    turned = path("pan_right", 170).frames((3,) * NUM_FRAMES)
    apart = compare_pair(turn(1, far), turn(2, turned))
    assert apart.text == "turns 1 and 2 never look at the same place"


def test_the_same_place_at_other_moments_is_not_called_never() -> None:
    there, back = path("pan_right", 170), path("pan_right", 170)
    back = back.frames((3, 2, 1, 0))
    chosen = (0, 3)  # ahead, behind; against behind, ahead
    verdict = compare_pair(turn(1, there.frames(chosen)), turn(2, back.frames(chosen)))
    assert verdict.text == (
        "turns 1 and 2 look at the same place only at different moments, which is not measured"
    )


def test_cameras_at_other_places_are_named_with_their_distance() -> None:
    verdict = compare_pair(turn(1, path("pan_right", 20)), turn(2, path("dolly_in", 0.5)))
    assert verdict.text == (
        "turns 1 and 2 cannot be measured: their cameras stand 0.5 pose units apart in frame 4, "
        "and depth is not known"
    )


def test_one_moving_path_is_compared_pixel_by_pixel_and_says_what_it_could_not_leave_out() -> None:
    camera = path("dolly_in", 0.5)
    verdict = compare_pair(turn(1, camera), turn(2, camera), SOURCE)
    assert verdict.text == "turns 1 and 2 agree: 0.000, over 100 % of the picture"
    assert verdict.note.startswith("turns 1 and 2: the camera leaves the source's place")


def test_shorter_and_thinned_turns_are_compared_over_the_frames_that_both_have() -> None:
    long, short = (
        turn(1, path("pan_right", 40, 9)),
        turn(2, path("pan_right", 40, 9).frames((0, 1))),
    )
    verdict = compare_pair(long, short)
    assert verdict.disagreement is not None
    assert len(verdict.disagreement.mask) == 2
    assert stride_for(9, 4) == 3
    few = thinned(long, 3)
    assert len(few.frames) == few.camera.num_frames == 3
    assert torch.equal(few.frames[1], long.frames[3])
    assert torch.equal(few.camera.c2w[1], long.camera.c2w[3])


def test_every_pair_is_listed_and_each_can_be_stopped() -> None:
    stops: list[int] = []
    turns = [turn(i, path("pan_right", 30)) for i in (1, 2, 3)]
    verdicts = compare_all(turns, SOURCE, lambda: stops.append(1))
    assert [verdict.text.split(" agree")[0] for verdict in verdicts] == [
        "turns 1 and 2",
        "turns 1 and 3",
        "turns 2 and 3",
    ]
    assert len(stops) == 3


def test_pairs_have_short_names() -> None:
    assert named_pair("turn 1", "turn 3") == "turns 1 and 3"
    assert named_pair("source", "turn 3") == "source and turn 3"


def test_other_sizes_are_an_error() -> None:
    small = ShownTurn("turn 2", torch.zeros(NUM_FRAMES, 3, 8, 8), SOURCE)
    with pytest.raises(ValueError, match="compare turns of one size"):
        compare_pair(turn(1, SOURCE), small)
