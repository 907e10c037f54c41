"""Changes between frames are those of OpenCV's colours and PySceneDetect's measure."""

import hashlib

import numpy as np
import pytest
import torch

from memv2v_core.clips.frame_changes import (
    ChangePeaks,
    hue_saturation_value,
    mean_difference,
    small_pictures,
)

# cv2.cvtColor(np.uint8([[red, green, blue]]), cv2.COLOR_RGB2HSV), OpenCV 4.10.0 and 5.0.0
COLOURS = (
    ((0, 0, 0), (0, 0, 0)),
    ((128, 128, 128), (0, 0, 128)),
    ((255, 0, 0), (0, 255, 255)),
    ((0, 255, 0), (60, 255, 255)),
    ((0, 0, 255), (120, 255, 255)),
    ((255, 255, 0), (30, 255, 255)),
    ((255, 0, 255), (150, 255, 255)),
    ((255, 0, 1), (0, 255, 255)),
    ((10, 200, 137), (80, 242, 200)),
    ((90, 90, 91), (120, 3, 91)),
    ((201, 17, 99), (167, 233, 201)),
    ((3, 2, 1), (15, 170, 3)),
)


@pytest.mark.parametrize(("colour", "expected"), COLOURS)
def test_colours_are_those_of_opencv(
    colour: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    picture = np.uint8(colour).reshape(3, 1, 1)
    assert hue_saturation_value(picture).ravel().tolist() == list(expected)


def test_each_of_many_colours_is_that_of_opencv() -> None:
    """OpenCV 4.10.0 and 5.0.0:

    steps = np.arange(0, 256, 5, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(52, -1, 3)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).transpose(2, 0, 1)
    hashlib.sha256(hsv.tobytes()).hexdigest()
    """
    expected = "b1e4423733973a1ad241443f449a76c886a265243a6391a6da1671aeb5d1fdd8"
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    picture = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 52, -1)
    assert hashlib.sha256(hue_saturation_value(picture).tobytes()).hexdigest() == expected


def _pictures() -> np.ndarray:
    """Five pictures of noise, of which the third changes most."""
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
    pictures[1] = pictures[0]
    pictures[3], pictures[4] = pictures[2] // 2, pictures[2] // 3
    return pictures


@pytest.mark.parametrize(
    ("min_ratio", "min_change", "expected"),
    [(4.9759, 59.1666, [2]), (4.9760, 59.1666, []), (4.9759, 59.1668, [])],
)
def test_change_and_ratio_are_those_of_pyscenedetect(
    min_ratio: float, min_change: float, expected: list[int]
) -> None:
    """PySceneDetect 0.7.2, which gives 59.1667 and 4.97591:

    detector = AdaptiveDetector()
    detector.stats_manager = StatsManager()
    for i, picture in enumerate(_pictures()):
        frame = np.ascontiguousarray(picture[::-1].transpose(1, 2, 0))
        detector.process_frame(FrameTimecode(i, 24.0), frame)
    keys = ["content_val", "adaptive_ratio (w=2)"]
    detector.stats_manager.get_metrics(FrameTimecode(2, 24.0), keys)
    """
    peaks = ChangePeaks(min_ratio, min_change)
    assert [peaks.add(picture) for picture in _pictures()] == [[], [], [], [], expected]


def test_among_still_frames_every_change_is_a_peak_but_a_small_one() -> None:
    before, after = np.full((3, 4, 4), 90, np.uint8), np.full((3, 4, 4), 150, np.uint8)
    # Of hue, saturation and value the last changes, by 60: 20 in the mean.
    video = [before, before, before, after, after, after]
    found, missed = ChangePeaks(1000.0, 20.0), ChangePeaks(1000.0, 20.1)
    assert [frame for picture in video for frame in found.add(picture)] == [3]
    assert [frame for picture in video for frame in missed.add(picture)] == []


def test_a_difference_does_not_wrap_around() -> None:
    assert mean_difference(np.uint8([0, 10]), np.uint8([255, 9])) == 128.0


def test_large_frames_become_small_pictures_and_small_ones_stay() -> None:
    video = torch.rand(18, 3, 20, 512)
    assert [picture.shape for picture in small_pictures(video)] == [(3, 10, 256)] * 18
    kept = np.stack(list(small_pictures(video[..., :200].split(5))))
    assert kept.dtype == np.uint8
    assert np.abs(kept / 255 - video[..., :200].numpy()).max() <= 0.5001 / 255
