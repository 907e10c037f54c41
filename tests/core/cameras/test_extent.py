"""Numbers that name a camera path."""

import math
from dataclasses import astuple, replace

import pytest

from memv2v_core.cameras.extent import Reach, extent_of
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import static_trajectory

ORBIT = 30.0


@pytest.mark.parametrize(
    ("motion", "amplitude", "wanted"),
    [
        ("pan_right", 30.0, (30.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        ("pan_left", 200.0, (-200.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        ("tilt_up", 20.0, (0.0, 20.0, 0.0, 0.0, 0.0, 0.0)),
        ("tilt_down", 20.0, (0.0, -20.0, 0.0, 0.0, 0.0, 0.0)),
        ("roll_right", 10.0, (0.0, 0.0, 10.0, 0.0, 0.0, 0.0)),
        ("dolly_out", 0.5, (0.0, 0.0, 0.0, 0.0, 0.0, -0.5)),
        (
            "orbit_right",
            ORBIT,
            (-ORBIT, 0, 0, math.sin(math.radians(30)), 0, 1 - math.cos(math.radians(30))),
        ),
    ],
)
def test_a_preset_has_the_extent_of_its_name(motion, amplitude, wanted) -> None:
    extent = extent_of(make_preset(PresetConfig(motion, amplitude, num_frames=21)))
    assert astuple(extent)[:6] == pytest.approx(wanted, abs=1e-6)
    assert (extent.zoom, extent.turns_back) == (1.0, False)


def test_a_path_that_comes_back_says_so() -> None:
    extent = extent_of(make_preset(PresetConfig("pan_left", 25.0, num_frames=21, returns=True)))
    assert extent.pan_deg == pytest.approx(-25.0, abs=1e-6)
    assert extent.turns_back


def test_the_start_of_a_path_is_its_own_first_camera() -> None:
    path = make_preset(PresetConfig("pan_left", 25.0, num_frames=9))
    moved = replace(path, c2w=path.c2w[-1] @ path.c2w)
    assert astuple(extent_of(moved)) == pytest.approx(astuple(extent_of(path)), abs=1e-6)


def test_a_still_camera_and_a_zoom() -> None:
    still = static_trajectory(5)
    assert astuple(extent_of(still)) == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, True)
    lens = still.intrinsics.clone()
    lens[-1, 0, 0] *= 2
    assert extent_of(replace(still, intrinsics=lens)).zoom == pytest.approx(2.0)


DEPTH, TURNING = Reach(sideways=1.2, vertical=0.5, forward=0.9), Reach(0.0, 0.0, 0.0)


@pytest.mark.parametrize("motion", ["pan_left", "tilt_up", "roll_right", "sweep", "static"])
@pytest.mark.parametrize("reach", [DEPTH, TURNING])
def test_a_path_that_only_turns_is_within_every_training(motion: str, reach: Reach) -> None:
    path = make_preset(PresetConfig(motion, 80.0, num_frames=9))
    assert reach.remark(path, static_trajectory(9)) == ""


@pytest.mark.parametrize(
    ("motion", "amplitude", "words"),
    [
        ("pan_left", 45.0, ""),
        ("pan_left", 80.0, "camera turns 80 degrees left or right (trained: 45), farther than"),
        ("sweep", 60.0, "turns 60 degrees left or right (trained: 45)"),
        ("tilt_up", 20.0, "turns 20 degrees up or down (trained: 18)"),
        ("roll_right", 15.0, "turns 15 degrees about its view (trained: 12)"),
        ("orbit_left", 50.0, "moves 0.766 pose units left or right (trained: 0) and 0.357 pose"),
    ],
)
def test_a_turn_beyond_the_training_is_named_where_it_is_recorded(motion, amplitude, words) -> None:
    path, still = make_preset(PresetConfig(motion, amplitude, num_frames=9)), static_trajectory(9)
    known = Reach(0.0, 0.0, 0.0, 45.0, 18.0, 12.0)
    remark = known.remark(path, still)
    if motion.startswith("orbit"):
        assert "but the model was trained on cameras that only turn" in remark
        remark = replace(known, vertical=0.1).remark(path, still)
        assert "and turns 50 degrees left or right (trained: 45), farther than" in remark
    assert words in remark
    assert bool(remark) == bool(words)


@pytest.mark.parametrize(
    ("motion", "amplitude", "words"),
    [
        ("dolly_in", 0.9, ""),
        ("dolly_in", 0.95, "0.95 pose units forward or back (trained: 0.9), farther than"),
        ("dolly_out", 30.0, "moves 30 pose units forward or back (trained: 0.9)"),
        # 1 pose unit ahead, an arc of 60 degrees goes 0.87 to the side and 0.5 ahead.
        ("orbit_left", 60.0, ""),
        ("orbit_left", 100.0, "1.17 pose units forward or back (trained: 0.9)"),
    ],
)
def test_a_path_that_goes_farther_than_the_training_is_named(motion, amplitude, words) -> None:
    path = make_preset(PresetConfig(motion, amplitude, num_frames=9))
    remark = DEPTH.remark(path, static_trajectory(9))
    assert words in remark
    assert bool(remark) == bool(words)


def test_every_axis_that_goes_too_far_is_named_as_seen_from_the_source() -> None:
    """The source looks to the right: its own forward is the world's +X."""
    source = make_preset(PresetConfig("pan_right", 90.0, num_frames=2)).frames((1, 1))
    path = make_preset(PresetConfig("dolly_in", 2.0, num_frames=3))
    sideways = DEPTH.remark(path, source)
    assert "moves 2 pose units left or right (trained: 1.2), farther" in sideways
    moved = path.c2w.clone()
    moved[:, 1, 3] = -0.7
    both = DEPTH.remark(replace(path, c2w=moved), static_trajectory(3))
    assert "0.7 pose units up or down (trained: 0.5) and 2 pose units forward or back" in both


def test_a_model_of_turning_cameras_says_so_of_a_move() -> None:
    path = make_preset(PresetConfig("dolly_in", 0.6, num_frames=9))
    remark = TURNING.remark(path, static_trajectory(9))
    assert "moves 0.6 pose units, but the model was trained on cameras that only turn" in remark
    slight = make_preset(PresetConfig("dolly_in", 0.009, num_frames=9))
    assert TURNING.remark(slight, static_trajectory(9)) == ""
