"""Camera paths in words."""

import pytest
import torch

from memv2v_core.cameras.presets import MOTIONS, PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.cameras.written import MAX_PATHS, WrittenPath, parse_paths


def test_paths_are_read_from_lines_and_semicolons() -> None:
    written = parse_paths("pan_left 30; Tilt_Up 20.5\n\n sweep 40+tilt_down 4 ;\nstatic\n")
    assert [path.name for path in written] == [
        "pan_left 30",
        "tilt_up 20.5",
        "sweep 40 + tilt_down 4",
        "static",
    ]
    assert parse_paths("") == parse_paths(" ;\n; ") == ()


def test_options_follow_the_moves() -> None:
    (path,) = parse_paths("dolly_in 0.5 + roll_left 10 linear returns speed 2")
    assert path == WrittenPath((("dolly_in", 0.5), ("roll_left", 10.0)), "linear", True, 2.0)
    assert parse_paths(path.name) == (path,)


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_written_move_is_the_preset_of_that_name(motion: str) -> None:
    lens = lens_intrinsics(60, 1.5)
    text = motion if motion == "static" else f"{motion} 12"
    (written,) = parse_paths(text)
    path, preset = written.path(7, lens), make_preset(PresetConfig(motion, 12, 7), lens)
    assert torch.equal(path.c2w, preset.c2w)
    assert torch.equal(path.intrinsics, preset.intrinsics)


def test_joined_moves_happen_at_the_same_time() -> None:
    (written,) = parse_paths("pan_left 30 + tilt_up 10 + roll_left 5 linear")
    parts = [
        make_preset(PresetConfig(motion, amplitude, 5, easing="linear"))
        for motion, amplitude in (("pan_left", 30), ("tilt_up", 10), ("roll_left", 5))
    ]
    wanted = combine_paths(combine_paths(parts[0], parts[1]), parts[2])
    assert torch.equal(written.path(5).c2w, wanted.c2w)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pan_up 30", r"'pan_up 30' as path 1: 'pan_up' is no motion, wanted one of static, pan_l"),
        ("pan_left 3; spin", "as path 2: 'spin' is no motion"),
        ("pan_left", "pan_left got no number, wanted a number from 0 to 360 after it, such as 30"),
        ("pan_left left", "pan_left got 'left', wanted a number"),
        ("pan_left -30", "got '-30', wanted a number .* choose the opposite motion"),
        ("pan_left nan", "got 'nan'"),
        ("pan_left inf", "got 'inf'"),
        ("pan_left 361", "got '361'"),
        ("pan_left 30 +", r"ends in '\+'"),
        ("pan_left 30 tilt_up 10", r"'tilt_up' is unknown, wanted '\+' and another motion"),
        ("pan_left 30 speed", "speed got no number"),
        ("pan_left 30 speed 0", "speed got 0"),
        ("+ pan_left 30", r"'\+' is no motion"),
        (";".join(["static"] * (MAX_PATHS + 1)), f"got {MAX_PATHS + 1} camera paths, wanted at"),
    ],
)
def test_words_that_are_no_path_are_named_with_the_choices(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_paths(text)
