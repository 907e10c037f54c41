"""Names of pictures become frame numbers, cameras of a rig and gaps."""

from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.reading.frames import PlacedFrame, path_of_frames
from memv2v_core.cameras.formats.reading.results import ImportedCameras, ImportSettings
from memv2v_core.cameras.trajectory import intrinsics_matrix

FILE = Path("transforms.json")


def placed(*names: str | None, **settings: object) -> ImportedCameras:
    """A path whose cameras stand at x = 0, 1, 2 ... in the order of `names`."""
    frames = []
    for x, name in enumerate(names):
        c2w = torch.eye(4, dtype=torch.float64)
        c2w[0, 3] = x
        frames.append(PlacedFrame(name, c2w, intrinsics_matrix(1.0, 1.0)))
    return path_of_frames(frames, FILE, ImportSettings(**settings))


def places(imported: ImportedCameras) -> list[float]:
    return [round(x, 9) for x in imported.trajectory.c2w[:, 0, 3].tolist()]


@pytest.mark.parametrize(
    "names",
    [
        ("r_10", "r_11", "r_9"),
        ("images/frame_00010.png", "images/frame_00011.png", "images/frame_00009.png"),
        ("10.jp2", "11.jp2", "9.jp2"),
        ("take2/0010_left.png", "take2/0011_left.png", "take2/0009_left.png"),
        ("2024/cam3_10", "2024/cam3_11", "2024/cam3_9"),
    ],
)
def test_the_number_that_varies_counts_the_frames(names: tuple[str, ...]):
    imported = placed(*names)
    assert places(imported) == [2.0, 0.0, 1.0]
    assert imported.is_numbered


def test_without_names_the_files_order_is_kept():
    imported = placed(None, None, "r_0")
    assert places(imported) == [0.0, 1.0, 2.0]
    assert not imported.is_numbered
    assert imported.notes == ()


def test_a_path_that_begins_late_says_so():
    (note,) = placed("f_0007", "f_0008").notes
    assert note == "The path begins at frame 7, the first one with a camera."
    assert placed("f_1", "f_2").notes == ()


def test_gaps_up_to_the_limit_are_interpolated_and_said():
    imported = placed("f_1", "f_5", "f_6", "f_8", max_gap=3)
    assert places(imported) == [0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 2.5, 3.0]
    assert "4 of 8 frames have no camera in the file and are interpolated: 2 to 4, 7." in (
        imported.notes
    )
    with pytest.raises(
        ValueError, match=r"frames 2 to 4 \(3 in sequence\), wanted gaps of at most"
    ):
        placed("f_1", "f_5", "f_6", "f_8", max_gap=2)


@pytest.mark.parametrize(
    ("names", "firsts"),
    [
        (("left/0001.png", "left/0002.png", "right/0001.png"), "0, 2"),
        (("cam0/1", "cam0/2", "cam0/3", "cam1/1", "cam1/2"), "0, 3"),
        (("0001_a", "0002_a", "0003_a", "0001_b"), "0, 3"),
        (("1_cam1", "2_cam1", "3_cam1", "1_cam2"), "0, 3"),
        (("train/r_0", "train/r_1", "test/r_0"), "0, 2"),
    ],
)
def test_cameras_of_a_rig_are_never_joined(names: tuple[str, ...], firsts: str):
    with pytest.raises(
        ValueError, match=f"2 cameras .*entries {firsts}.*wanted one of them in camera"
    ):
        placed(*names)


def test_a_camera_is_chosen_by_a_part_of_its_name():
    names = ("cam0/1", "cam0/2", "cam0/3", "cam1/1", "cam1/2")
    assert places(placed(*names, camera="cam1")) == [3.0, 4.0]
    with pytest.raises(ValueError, match="not 'cam'"):
        placed(*names, camera="cam")
    with pytest.raises(ValueError, match="not 'cam2'"):
        placed(*names, camera="cam2")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "transforms.json got no cameras"),
        (("f_1", "f_2", "f_01"), "two cameras for frame 1 .entries 0 and 2"),
        (("f_1", "f_#"), "a picture name without a number for entry 1"),
        (("f_1", f"f_{10**17}"), r"frames 2 to 9{17} \(9{16}8 in sequence\)"),
        (("f_1", f"f_{10**18}"), "a frame number of 19 digits in the picture name of entry 1"),
        (("f_1", "f" * 513), "a picture name of 513 characters for entry 1, wanted at most 512"),
        (("left.png", "right.png"), "a picture name without a number for entry 0"),
    ],
)
def test_names_that_give_no_path_are_named(names: tuple[str, ...], message: str):
    with pytest.raises(ValueError, match=message):
        placed(*names)


def test_one_picture_needs_no_number():
    assert places(placed("only.png")) == [0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"aspect": 0.0}, "aspect got 0.0, wanted 0.05 to 20"),
        ({"fov_deg": 180.0}, "fov_deg got 180.0"),
        ({"max_gap": -1}, "max_gap got -1"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ImportSettings(**settings)
