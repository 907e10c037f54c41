import pytest
import torch

from memv2v_core.cameras.presets import (
    EASINGS,
    MOTIONS,
    PresetConfig,
    combine_paths,
    make_preset,
    preset_progress,
)
from memv2v_core.cameras.trajectory import default_intrinsics, intrinsics_matrix

ROTATIONS = ("pan_left", "pan_right", "tilt_up", "tilt_down", "roll_left", "roll_right", "sweep")


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("returns", [False, True])
@pytest.mark.parametrize("num_frames", [1, 2, 9, 81])
def test_every_path_starts_at_the_identity_and_stays_rigid(
    motion: str, returns: bool, num_frames: int
):
    path = make_preset(PresetConfig(motion, 35.0, num_frames, speed=1.3, returns=returns))
    assert path.num_frames == num_frames
    assert torch.equal(path.c2w[0], torch.eye(4, dtype=torch.float64))
    rotation = path.c2w[:, :3, :3]
    assert torch.allclose(
        rotation.transpose(1, 2) @ rotation, torch.eye(3, dtype=torch.float64), atol=1e-14
    )
    assert torch.allclose(
        torch.linalg.det(rotation), torch.ones(num_frames, dtype=torch.float64), atol=1e-14
    )


# Where the view (+Z of the camera) points, or for rolls the camera's top (-Y), after 30 degrees.
@pytest.mark.parametrize(
    ("motion", "axis", "expected"),
    [
        ("pan_left", 2, [-0.5, 0.0, 0.8660254]),
        ("pan_right", 2, [0.5, 0.0, 0.8660254]),
        ("tilt_up", 2, [0.0, -0.5, 0.8660254]),
        ("tilt_down", 2, [0.0, 0.5, 0.8660254]),
        ("roll_left", 1, [0.5, 0.8660254, 0.0]),
        ("roll_right", 1, [-0.5, 0.8660254, 0.0]),
    ],
)
def test_rotations_turn_the_way_their_name_says(motion: str, axis: int, expected: list[float]):
    path = make_preset(PresetConfig(motion, 30.0, 5))
    assert torch.allclose(
        path.c2w[-1, :3, axis], torch.tensor(expected, dtype=torch.float64), atol=1e-7
    )
    assert (path.c2w[:, :3, 3] == 0).all()


@pytest.mark.parametrize(("motion", "x"), [("orbit_left", -1.0), ("orbit_right", 1.0)])
def test_orbit_moves_aside_and_keeps_looking_at_its_point(motion: str, x: float):
    path = make_preset(PresetConfig(motion, 90.0, 7, orbit_distance=2.0))
    point = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64)
    towards = point - path.c2w[:, :3, 3]
    assert torch.allclose(towards, 2.0 * path.c2w[:, :3, 2], atol=1e-12)
    assert torch.allclose(
        path.c2w[-1, :3, 3], torch.tensor([2.0 * x, 0.0, 2.0], dtype=torch.float64), atol=1e-12
    )


@pytest.mark.parametrize(("motion", "z"), [("dolly_in", 1.5), ("dolly_out", -1.5)])
def test_dolly_moves_along_the_view_in_pose_units(motion: str, z: float):
    path = make_preset(PresetConfig(motion, 1.5, 5))
    assert path.c2w[-1, :3, 3].tolist() == [0.0, 0.0, z]
    assert torch.equal(path.c2w[-1, :3, :3], torch.eye(3, dtype=torch.float64))


def test_static_never_moves():
    assert preset_progress(PresetConfig("static", 20.0, 5)) == (0.0,) * 5


def test_easings_run_from_start_to_end():
    middle = {"linear": 0.5, "ease_in": 0.2928932, "ease_out": 0.7071068, "ease_in_out": 0.5}
    assert set(middle) == set(EASINGS)
    for easing, expected in middle.items():
        progress = preset_progress(PresetConfig("pan_left", 20.0, 5, easing=easing))
        assert progress[0] == 0.0
        assert progress[-1] == 1.0
        assert progress[2] == pytest.approx(expected, abs=1e-6)
        assert list(progress) == sorted(progress)


def test_speed_two_arrives_half_way_and_holds():
    progress = preset_progress(PresetConfig("pan_left", 20.0, 9, speed=2.0, easing="linear"))
    assert progress == (0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0)


def test_speed_half_is_cut_off_half_way():
    progress = preset_progress(PresetConfig("pan_left", 20.0, 5, speed=0.5, easing="linear"))
    assert progress == (0.0, 0.125, 0.25, 0.375, 0.5)


def test_return_reaches_the_amplitude_and_comes_back():
    progress = preset_progress(PresetConfig("pan_left", 20.0, 5, easing="linear", returns=True))
    assert progress == (0.0, 0.5, 1.0, 0.5, 0.0)


def test_sweep_reaches_its_amplitude_on_both_sides_for_any_length():
    assert preset_progress(PresetConfig("sweep", 20.0, 7, easing="linear")) == (
        0.0,
        -0.5,
        -1.0,
        -0.5,
        0.0,
        0.5,
        1.0,
    )
    for num_frames in range(4, 40):
        progress = preset_progress(PresetConfig("sweep", 20.0, num_frames))
        assert min(progress) == -1.0
        assert progress[-1] == 1.0


def test_sweep_goes_left_first():
    path = make_preset(PresetConfig("sweep", 20.0, 7))
    assert path.c2w[2, 0, 2] < 0 < path.c2w[-1, 0, 2]


def test_lens_is_the_default_or_the_given_one():
    config = PresetConfig("pan_left", 20.0, 3)
    assert torch.equal(make_preset(config).intrinsics, default_intrinsics(3))
    lens = intrinsics_matrix(0.7, 0.9)
    assert torch.equal(make_preset(config, lens).intrinsics, lens.expand(3, 3, 3))


def test_combined_paths_apply_the_second_move_in_the_moving_camera():
    pan, dolly = (
        make_preset(PresetConfig("pan_left", 90.0, 3)),
        make_preset(PresetConfig("dolly_in", 2.0, 3)),
    )
    both = combine_paths(pan, dolly)
    assert torch.allclose(
        both.c2w[-1, :3, 3], torch.tensor([-2.0, 0.0, 0.0], dtype=torch.float64), atol=1e-12
    )
    assert torch.equal(both.c2w[0], torch.eye(4, dtype=torch.float64))


def test_combined_paths_must_be_equally_long():
    with pytest.raises(ValueError, match="second move got 4 frames, wanted 3"):
        combine_paths(
            make_preset(PresetConfig(num_frames=3)), make_preset(PresetConfig(num_frames=4))
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("motion", "zoom", "motion got 'zoom', wanted one of static, pan_left"),
        ("easing", "bounce", "easing got 'bounce', wanted one of linear"),
        ("num_frames", 0, "num_frames got 0, wanted at least 1"),
        ("amplitude", -3.0, "amplitude got -3.0.*opposite motion"),
        ("amplitude", float("nan"), "amplitude got nan"),
        ("speed", 0.0, "speed got 0.0, wanted a finite number above 0"),
        ("orbit_distance", float("inf"), "orbit_distance got inf"),
    ],
)
def test_bad_settings_are_named(field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        PresetConfig(**{field: value})
