"""Patterns of playback. The numbers are those that SpaceTimePilot's get_time_pattern gives for 81
frames."""

import pytest
import torch

from memv2v_core.cameras.playback import (
    PLAYBACKS,
    playback_summary,
    playback_times,
    with_playback,
)
from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.resampling import resample_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, static_trajectory

TWICE = [i for moment in range(1, 41) for i in (moment, moment)]
OFFICIAL = {
    "forward": list(range(81)),
    "reverse": list(range(80, -1, -1)),
    "pingpong": [*range(40, 81), *range(80, 40, -1)],
    "bounce_early": [*range(20, 85), *range(84, 68, -1)],
    "bounce_late": [*range(60, 85), *range(84, 28, -1)],
    "slowmo_first_half": [0, *TWICE],
    "slowmo_second_half": [40, *(40 + moment for moment in TWICE)],
    "ramp_then_freeze": [*range(41), *[40] * 40],
}


def path(num_frames: int = 9) -> CameraTrajectory:
    return make_preset(PresetConfig("pan_right", 20.0, num_frames))


@pytest.mark.parametrize("pattern", OFFICIAL)
def test_81_frames_have_the_official_moments(pattern: str) -> None:
    assert playback_times(pattern, 81).tolist() == OFFICIAL[pattern]


@pytest.mark.parametrize("frame", [0, 20, 40, 60, 80])  # start, early, mid, late, end
def test_freezing_shows_one_moment(frame: int) -> None:
    assert playback_times("freeze", 81, frame).tolist() == [float(frame)] * 81


def test_every_length_has_every_pattern() -> None:
    for num_frames in (1, 2, 3, 4, 5, 8, 9, 49, 80, 121, 1001):
        for pattern in PLAYBACKS:
            times = playback_times(pattern, num_frames)
            assert times.shape == (num_frames,)
            assert times.min() >= 0
            # Bounces turn a twentieth behind the last frame, as the official ones do.
            most = round(1.05 * (num_frames - 1)) if "bounce" in pattern else num_frames - 1
            assert times.max() <= most
            assert (times.diff().abs() <= 1).all()


def test_a_moment_or_a_pattern_that_is_not_there_is_refused() -> None:
    for frame in (-1, 9):
        with pytest.raises(ValueError, match=f"freeze_frame got {frame}, wanted 0 to 8"):
            playback_times("freeze", 9, frame)
    with pytest.raises(ValueError, match="pattern got 'fast', wanted one of forward, reverse"):
        playback_times("fast", 9)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([3.0, 3.0, 3.0], "shows moment 3 of the source in every frame"),
        ([0.0, 1.0, 1.0, 2.0], "shows moments 0 to 2 of the source"),
        ([20.0, 21.0, 21.0, 20.0, 19.5], "shows moments 20 to 21 to 19.5 of the source"),
        ([0.0, 1.0, 1.0], "shows moments 0 to 1 of the source"),
        ([2.0, 1.0, 0.0, 1.0, 0.0], "shows moments 2 to 0 to 1 to 0 of the source"),
    ],
)
def test_moments_are_told_by_their_turning_points(times: list[float], words: str) -> None:
    assert playback_summary(torch.tensor(times)) == words


def test_a_path_without_times_plays_its_source() -> None:
    assert path().times is None
    assert path().moments().tolist() == list(range(9))


def test_every_change_of_a_path_keeps_its_moments() -> None:
    moving = with_playback(path(), "reverse")
    reverse = [8.0, 7, 6, 5, 4, 3, 2, 1, 0]
    assert moving.moments().tolist() == reverse
    assert moving.relative_to(static_trajectory(9)).moments().tolist() == reverse
    assert moving.cropped_to(1.0).moments().tolist() == reverse
    assert combine_paths(moving, path()).moments().tolist() == reverse
    assert moving.frames((0, 4, 8, 8)).moments().tolist() == [8, 4, 0, 0]
    assert resample_trajectory(moving, 5).moments().tolist() == [8, 6, 4, 2, 0]
    assert resample_trajectory(moving, 17).moments().tolist()[:4] == [8, 7.5, 7, 6.5]


def test_changes_of_a_path_without_times_add_none() -> None:
    assert path().frames((2, 3)).times is None
    assert resample_trajectory(path(), 5).times is None


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (torch.zeros(8), r"times got shape \(8,\), wanted \(9,\)"),
        (torch.zeros(9, 1), r"times got shape \(9, 1\), wanted \(9,\)"),
        (torch.full((9,), torch.nan), "times got nan as a moment, wanted finite numbers from 0"),
        (torch.arange(9) - 3.0, "times got -3 as a moment, wanted finite numbers from 0"),
    ],
)
def test_wrong_moments_are_refused(times: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraTrajectory(path().c2w, path().intrinsics, times=times)
