"""Numbers that name a camera path."""

import math
from dataclasses import astuple, replace

import pytest

from memv2v_core.cameras.extent import extent_of
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
