"""RealEstate10K's and CameraCtrl's texts."""

from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.trajectory import intrinsics_matrix

LENS = "0.48 0.86 0.5 0.5 0 0"
# World to camera: turned 90 degrees to the right about the down axis, at world place (1, 2, 3):
# t = -R (1, 2, 3).
TURNED = "0 0 -1 3  0 1 0 -2  1 0 0 -1"
STILL = "1 0 0 0  0 1 0 0  0 0 1 0"
ADDRESS = "https://www.youtube.com/watch?v=none\n"


def written(folder: Path, *lines: str, first: str = ADDRESS) -> Path:
    path = folder / "clip.txt"
    path.write_text(first + "\n".join(lines) + "\n")
    return path


def moved(x: float) -> str:
    """A camera at x: world to camera is the move back."""
    return f"1 0 0 {-x}  0 1 0 0  0 0 1 0"


def test_world_to_camera_becomes_camera_to_world(tmp_path: Path):
    trajectory = load_trajectory(written(tmp_path, f"0 {LENS} {STILL}", f"33333 {LENS} {TURNED}"))
    assert trajectory.c2w[1, :3].tolist() == [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3]]
    assert torch.equal(trajectory.intrinsics[0], intrinsics_matrix(0.48, 0.86))


@pytest.mark.parametrize("first", ["", ADDRESS, "# made by hand\n", "\n" + ADDRESS])
def test_the_address_may_be_missing(tmp_path: Path, first: str):
    path = written(tmp_path, f"0 {LENS} {STILL}", f"1 {LENS} {STILL}", first=first)
    assert load_trajectory(path).num_frames == 2


def test_a_longer_step_of_time_is_a_gap(tmp_path: Path):
    times_and_places = [(0, 0), (33366, 1), (66733, 2), (166833, 5), (200200, 6)]
    lines = [f"{time} {LENS} {moved(x)}" for time, x in times_and_places]
    imported = load_cameras(written(tmp_path, *lines))
    assert torch.allclose(imported.trajectory.c2w[:, 0, 3], torch.arange(7.0, dtype=torch.float64))
    assert "2 of 7 frames have no camera in the file and are interpolated: 3 to 4." in (
        imported.notes
    )


def test_times_that_do_not_rise_keep_the_order_of_lines(tmp_path: Path):
    path = written(tmp_path, *(f"0 {LENS} {moved(x)}" for x in (3, 1, 2)))
    assert load_trajectory(path).c2w[:, 0, 3].tolist() == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0 1 2"], "got a text whose first line .1. has .*wanted one of"),
        ([f"0 {LENS} {STILL}", "33333 1 2"], "3 numbers in line 3, wanted 19"),
        ([f"0 {LENS} {STILL}", f"x {LENS} {STILL}"], "a text of 1 characters as value 1 of line 3"),
        ([f"nan {LENS} {STILL}"], "NaN or infinity in line 2"),
        ([f"0 0 1 0.5 0.5 0 0 {STILL}"], "focal lengths 0 and 1 in line 2"),
        ([f"0 {LENS} 2 0 0 0 0 1 0 0 0 0 1 0"], "scaled, sheared or mirrored pose in line 2"),
        ([f"0 {LENS} -1 0 0 0 0 1 0 0 0 0 1 0"], "scaled, sheared or mirrored pose in line 2"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, lines: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(written(tmp_path, *lines))


def test_a_gap_that_is_too_long_is_refused(tmp_path: Path):
    lines = [f"{time} {LENS} {STILL}" for time in (0, 33333, 66666, 999990)]
    with pytest.raises(ValueError, match=r"no camera for frames 3 to 29 \(27 in sequence\)"):
        load_trajectory(written(tmp_path, *lines))
