"""COLMAP's sparse models, as text and as binary."""

import math
import os
import struct
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.trajectory import intrinsics_matrix

HALF = math.sqrt(0.5)
CAMERAS = "# Camera list\n1 PINHOLE 200 100 150 160 100 40\n"
# World to camera: a quarter turn about the down axis (w, x, y, z), then a translation.
TURNED = f"{HALF} 0 {HALF} 0 1 2 3"
STILL = "1 0 0 0 0 0 0"


def model(folder: Path, images: str, cameras: str = CAMERAS) -> Path:
    (folder / "cameras.txt").write_text(cameras)
    path = folder / "images.txt"
    path.write_text("# Image list with two lines of data per image:\n" + images)
    return path


def pictures(*numbers: int, folder: str = "", pose: str = STILL) -> str:
    return "".join(
        f"{number} {pose} 1 {folder}frame_{number:04d}.png\n10 20 -1 30 40 -1\n"
        for number in numbers
    )


def binary_model(folder: Path, names: list[str], model_idx: int, parameters: list[float]) -> Path:
    lens = struct.pack(f"<QIiQQ{len(parameters)}d", 1, 7, model_idx, 200, 100, *parameters)
    (folder / "cameras.bin").write_bytes(lens)
    images = struct.pack("<Q", len(names))
    for number, name in enumerate(names):
        images += struct.pack("<I7dI", number, HALF, 0, HALF, 0, 1, 2, 3, 7)
        images += name.encode() + b"\0" + struct.pack("<Qddq", 1, 10.5, 20.5, -1)
    path = folder / "images.bin"
    path.write_bytes(images)
    return path


def test_a_quaternion_is_w_x_y_z_and_leads_to_the_camera(tmp_path: Path):
    trajectory = load_trajectory(model(tmp_path, pictures(1, pose=TURNED)))
    # R = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]; the centre is -R^T (1, 2, 3).
    expected = [[0.0, 0.0, -1.0, 3.0], [0.0, 1.0, 0.0, -2.0], [1.0, 0.0, 0.0, -1.0]]
    assert torch.allclose(
        trajectory.c2w[0, :3], torch.tensor(expected, dtype=torch.float64), atol=1e-12
    )
    assert torch.allclose(trajectory.intrinsics[0], intrinsics_matrix(0.75, 1.6, 0.5, 0.4))


@pytest.mark.parametrize(
    ("name", "parameters", "lens"),
    [
        ("SIMPLE_PINHOLE", "150 100 50", (0.75, 1.5, 0.5, 0.5)),
        ("SIMPLE_RADIAL", "150 100 50 0.1", (0.75, 1.5, 0.5, 0.5)),
        ("RADIAL", "150 100 50 0.1 0", (0.75, 1.5, 0.5, 0.5)),
        ("OPENCV", "150 160 100 40 0.1 0 0 0", (0.75, 1.6, 0.5, 0.4)),
    ],
)
def test_lenses_with_and_without_distortion(tmp_path: Path, name: str, parameters: str, lens):
    imported = load_cameras(model(tmp_path, pictures(1), f"1 {name} 200 100 {parameters}\n"))
    assert torch.allclose(imported.trajectory.intrinsics[0], intrinsics_matrix(*lens))
    bends = "0.1" in parameters
    assert len(imported.notes) == bends
    assert not bends or "largest coefficient 0.1" in imported.notes[0]


def test_either_file_may_be_chosen_and_points_may_be_missing(tmp_path: Path):
    images = "3 1 0 0 0 0 0 -3 1 a 3.png\n\n2 1 0 0 0 0 0 -2 1 a 2.png\n"
    path = model(tmp_path, images)
    for chosen in (path, tmp_path / "cameras.txt"):
        assert load_trajectory(chosen).c2w[:, 2, 3].tolist() == [2.0, 3.0]


def test_binary_files_hold_the_same(tmp_path: Path):
    path = binary_model(tmp_path, ["f_01.png", "f_00.png"], 1, [150.0, 160.0, 100.0, 40.0])
    for chosen in (path, tmp_path / "cameras.bin"):
        trajectory = load_trajectory(chosen)
        expected = load_trajectory(model(tmp_path, pictures(0, 1, pose=TURNED)))
        assert torch.allclose(trajectory.c2w, expected.c2w, atol=1e-12)
        assert torch.equal(trajectory.intrinsics, expected.intrinsics)


def test_pictures_that_were_not_placed_are_interpolated_or_refused(tmp_path: Path):
    path = model(tmp_path, pictures(1, 2, 6, 40))
    with pytest.raises(ValueError, match=r"no camera for frames 7 to 39 \(33 in sequence\)"):
        load_cameras(path)
    imported = load_cameras(path, ImportSettings(max_gap=33))
    assert imported.trajectory.num_frames == 40
    assert "36 of 40 frames have no camera" in imported.notes[0]
    assert "3 to 5, 7 to 39" in imported.notes[0]


def test_two_cameras_of_a_rig_are_never_joined(tmp_path: Path):
    path = model(tmp_path, pictures(1, 2, folder="left/") + pictures(1, 2, 3, folder="right/"))
    with pytest.raises(ValueError, match=r"2 cameras \(their first pictures are entries 0, 2\)"):
        load_cameras(path)
    assert load_trajectory(path, camera="right").num_frames == 3


@pytest.mark.parametrize(
    ("images", "cameras", "message"),
    [
        (pictures(1), "1 OPENCV_FISHEYE 200 100 1 1 1 1 0 0 0 0", "camera model OPENCV_FISHEYE"),
        (pictures(1), "1 PINHOLE 200 100 0 160 100 40", "PINHOLE with 4 parameters for 200x100"),
        (pictures(1), "1 PINHOLE 200 100 150", "PINHOLE with 1 parameters"),
        (
            pictures(1),
            "2 PINHOLE 200 100 1 1 1 1",
            "camera 1 in line 2, wanted one of the 1 cameras",
        ),
        (pictures(1), "1 PINHOLE", "2 words in line 1"),
        (pictures(1), "", "cameras.txt got nothing in it"),
        (pictures(1, pose="2 0 0 0 0 0 0"), CAMERAS, "quaternion of length 2"),
        (pictures(1, pose="nan 0 0 0 0 0 0"), CAMERAS, "NaN or infinity in line 2"),
        (pictures(1) + pictures(1), CAMERAS, "two cameras for frame 1"),
        (pictures(1).replace("\n10", " \n1 2 3\n10"), CAMERAS, "words in line 4"),
    ],
)
def test_broken_models_are_named(tmp_path: Path, images: str, cameras: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(model(tmp_path, images, cameras))


def test_both_files_are_needed(tmp_path: Path):
    path = model(tmp_path, pictures(1))
    (tmp_path / "cameras.txt").unlink()
    with pytest.raises(ValueError, match="no cameras.txt beside it.*copy cameras.txt there too"):
        load_trajectory(path)
    with pytest.raises(ValueError, match="COLMAP's content under another name.*rename"):
        load_trajectory(path.rename(tmp_path / "model.txt"))


def test_a_binary_file_that_ends_early_is_named(tmp_path: Path):
    path = binary_model(tmp_path, ["f_01.png"], 1, [1.0, 1.0, 1.0, 1.0])
    whole = path.read_bytes()
    for length in (0, 4, 30, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"images.bin got {length} bytes, which end inside"):
            load_trajectory(path)
    path.write_bytes(struct.pack("<Q", 0))
    with pytest.raises(ValueError, match=r"images.bin got no cameras"):
        load_trajectory(path)


def test_binary_files_of_pycolmap_hold_the_same(tmp_path: Path):
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    path = model(tmp_path, pictures(1, 2, pose=TURNED))
    (tmp_path / "points3D.txt").write_text("")
    pycolmap.Reconstruction(os.fspath(tmp_path)).write_binary(os.fspath(tmp_path))
    assert torch.allclose(
        load_trajectory(tmp_path / "images.bin").c2w, load_trajectory(path).c2w, atol=1e-12
    )
