from dataclasses import replace

import pytest
import torch

from memv2v_core.cameras.authored import PathSettings, as_keyframes, authored_path
from memv2v_core.cameras.keyframe_text import keyframes_text, parse_keyframes
from memv2v_core.cameras.presets import EASINGS, MOTIONS, PresetConfig, combine_paths, make_preset

# Rounding, and turning points of a few frames that fall together.
TOLERANCE = 5e-9


def error_of_keyframes(settings: PathSettings, num_frames: int) -> float:
    """The largest difference of a matrix element, in parts of the largest one of its place."""
    text = keyframes_text(as_keyframes(settings, num_frames))
    preset = authored_path(settings, num_frames).c2w
    keyed = authored_path(replace(settings, keyframes=text), num_frames).c2w
    return float(((preset - keyed).abs().amax(0) / preset.abs().amax(0).clamp(min=1)).max())


@pytest.mark.parametrize("motion", MOTIONS)
def test_keyframes_make_the_cameras_of_every_preset(motion: str) -> None:
    for easing in EASINGS:
        for speed in (0.4, 1.5):
            for returns in (False, True):
                settings = PathSettings(motion, 120.0, easing, speed, returns)
                for num_frames in (1, 3, 41):
                    assert error_of_keyframes(settings, num_frames) < TOLERANCE


def test_a_preset_needs_a_handle_for_each_turning_point_alone() -> None:
    for motion, returns, count in (("pan_left", False, 2), ("sweep", False, 3), ("sweep", True, 4)):
        path = as_keyframes(PathSettings(motion, 30.0, returns=returns), 81)
        assert len(path.keyframes) == count


def test_two_motions_are_exact_in_the_order_of_a_tripod() -> None:
    for first, second in (("orbit_left", "tilt_up"), ("pan_right", "tilt_up"), ("static", "sweep")):
        settings = PathSettings(first, 30.0, second_motion=second, second_amplitude=20.0)
        assert error_of_keyframes(settings, 33) < TOLERANCE


def test_any_two_motions_are_near() -> None:
    for first in MOTIONS:
        for second in MOTIONS:
            settings = PathSettings(
                first, 35.0, returns=True, second_motion=second, second_amplitude=20.0
            )
            assert error_of_keyframes(settings, 41) < 0.03


def test_without_keyframes_the_presets_decide_bit_for_bit() -> None:
    settings = PathSettings("orbit_left", 25.0, "linear", 1.2, True, "tilt_up", 5.0)
    first, second = (
        make_preset(PresetConfig(motion, amplitude, 9, 1.2, "linear", True))
        for motion, amplitude in (("orbit_left", 25.0), ("tilt_up", 5.0))
    )
    assert torch.equal(authored_path(settings, 9).c2w, combine_paths(first, second).c2w)


def test_keyframes_decide_alone() -> None:
    text = '{"keyframes":[{"time":0},{"time":1,"pitch_deg":10}]}'
    settings = PathSettings("no motion at all", -1.0, keyframes=text)
    c2w = authored_path(settings, 5).c2w
    assert torch.equal(c2w, authored_path(PathSettings(keyframes=text), 5).c2w)
    assert as_keyframes(settings, 5) == parse_keyframes(text)
    with pytest.raises(ValueError, match="motion got 'no motion at all'"):
        authored_path(replace(settings, keyframes=""), 5)
