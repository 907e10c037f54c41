"""ReCamMaster's files against its own loader, rewritten here in numpy from its inference code."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from memv2v_core.cameras.formats.detection import camera_names, load_cameras, load_trajectory
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.formats.recammaster import save_recammaster
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import default_intrinsics, intrinsics_matrix, pose_vectors

CAMERAS = tuple(f"cam{number:02d}" for number in range(1, 11))

# Frames 0, 40 and 80 of cameras 1, 7 and 10 of ReCamMaster's
# example_test_data/cameras/camera_extrinsics.json.
THREE_FRAMES = {
    "frame0": {
        "cam01": "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3390 1380 240 1] ",
        "cam07": "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3390 1380 240 1] ",
        "cam10": "[1 0 0 0] [-0 1 0 0] [0 -0 1 0] [3390 1380 240 1] ",
    },
    "frame1": {
        "cam01": "[0.984995 0.17258 0 0] [-0.17258 0.984995 0 0] [0 -0 1 0] [3390 1380 240 1] ",
        "cam07": (
            "[0.992372 0 -0.123276 0] [-0 1 0 0] [0.123276 0 0.992372 0] [3390 1380 289.689 1] "
        ),
        "cam10": (
            "[0.966355 -0.257211 0 0] [0.257211 0.966355 -0 0] [0 0 1 0] [3416.63 1479.38 240 1] "
        ),
    },
    "frame2": {
        "cam01": "[0.940432 0.339982 0 0] [-0.339982 0.940432 0 0] [0 -0 1 0] [3390 1380 240 1] ",
        "cam07": (
            "[0.970496 0 -0.241117 0] [-0 1 0 0] [0.241117 0 0.970496 0] [3390 1380 339.379 1] "
        ),
        "cam10": (
            "[0.867575 -0.497306 0 0] [0.497306 0.867575 -0 0] [0 0 1 0] [3443.26 1578.76 240 1] "
        ),
    },
}

# Printed by official_pose_vectors (below) for THREE_FRAMES, frames 1 and 2; frame 0 is the
# identity.
GOLDEN = {
    "cam01": [
        [0.984995008, 0, 0.172580004, 0, 0, 1, 0, 0, -0.172580004, 0, 0.984995008, 0],
        [0.940432012, 0, 0.339982003, 0, 0, 1, 0, 0, -0.339982003, 0, 0.940432012, 0],
    ],
    "cam07": [
        [1, 0, 0, 0, 0, 0.992371976, 0.123276003, -0.496890008, 0, -0.123276003, 0.992371976, 0],
        [1, 0, 0, 0, 0, 0.970495999, 0.241117001, -0.993789971, 0, -0.241117001, 0.970495999, 0],
    ],
    "cam10": [
        [
            0.966355026,
            0,
            -0.257211000,
            0.993799984,
            0,
            1,
            0,
            0,
            0.257211000,
            0,
            0.966355026,
            0.266299993,
        ],
        [
            0.867574990,
            0,
            -0.497305989,
            1.987599969,
            0,
            1,
            0,
            0,
            0.497305989,
            0,
            0.867574990,
            0.532599986,
        ],
    ],
}


def official_cameras(content: dict, camera: str, frames: list[int]) -> np.ndarray:
    """ReCamMaster's absolute c2w (F, 4, 4), determinant -1."""
    rows = [content[f"frame{idx}"][camera].strip().split("] ") for idx in frames]
    table = [
        [[float(word) for word in row.strip("[]").split()] for row in matrix] for matrix in rows
    ]
    converted = []
    for c2w in np.stack(table).transpose(0, 2, 1):
        c2w = c2w[:, [1, 2, 0, 3]]
        c2w[:3, 1] *= -1.0
        c2w[:3, 3] /= 100
        converted.append(c2w)
    return np.stack(converted)


def official_pose_vectors(content: dict, camera: str, frames: list[int]) -> np.ndarray:
    absolute = official_cameras(content, camera, frames)
    abs2rel = np.linalg.inv(absolute[0])
    relative = np.stack([np.eye(4), *(abs2rel @ c2w for c2w in absolute[1:])])
    return relative[:, :3, :4].reshape(-1, 12).astype(np.float32)


@pytest.fixture
def three_frames(tmp_path: Path) -> Path:
    path = tmp_path / "camera_extrinsics.json"
    path.write_text(json.dumps(THREE_FRAMES, indent=4))
    return path


@pytest.fixture
def all_paths() -> Path:
    folder = os.environ.get("MEMV2V_TEST_DATA")
    if not folder:
        pytest.skip(
            "MEMV2V_TEST_DATA is unset; it names a folder with ReCamMaster's camera_extrinsics.json"
        )
    path = Path(folder) / "camera_extrinsics.json"
    if not path.is_file():
        pytest.skip(f"MEMV2V_TEST_DATA has no camera_extrinsics.json: {path}")
    return path


def edited(path: Path, edit: dict[str, dict[str, str] | None]) -> Path:
    """The same file with some frames replaced, or dropped where None."""
    content = {**json.loads(path.read_text()), **edit}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


@pytest.mark.parametrize("camera", GOLDEN)
def test_pose_vectors_equal_golden_numbers_of_the_official_loader(three_frames: Path, camera: str):
    trajectory = load_trajectory(three_frames, camera=camera)
    vectors = pose_vectors(trajectory, trajectory)
    assert vectors.shape == (3, 12)
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors[0].reshape(3, 4), torch.eye(3, 4), atol=1e-6)
    assert torch.allclose(vectors[1:], torch.tensor(GOLDEN[camera]), atol=1e-6)


@pytest.mark.parametrize("camera", CAMERAS)
def test_all_ten_paths_equal_the_official_loader(all_paths: Path, camera: str):
    trajectory = load_trajectory(all_paths, camera=camera)
    assert trajectory.num_frames == 81
    frames = list(range(0, 81, 4))
    official = official_pose_vectors(json.loads(all_paths.read_text()), camera, frames)
    sampled = trajectory.frames(tuple(frames))
    assert np.abs(pose_vectors(sampled, sampled).numpy() - official).max() <= 1e-5


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_path_that_starts_elsewhere_is_relative_to_the_source(all_paths: Path, camera: str):
    content = json.loads(all_paths.read_text())
    source = load_trajectory(all_paths, camera="cam09").frames(tuple(range(20, 81)))
    target = load_trajectory(all_paths, camera=camera).frames(tuple(range(40, 81, 4)))
    official_source = official_cameras(content, "cam09", [20])[0]
    official_target = official_cameras(content, camera, list(range(40, 81, 4)))
    expected = (np.linalg.inv(official_source) @ official_target)[:, :3].reshape(-1, 12)
    vectors = pose_vectors(target, source).numpy()
    assert np.abs(vectors - expected).max() <= 1e-5
    assert np.abs(vectors[0].reshape(3, 4) - np.eye(3, 4)).max() > 0.05


def test_relative_to_another_path_needs_no_data_folder(three_frames: Path):
    source, target = (load_trajectory(three_frames, camera=camera) for camera in ("cam10", "cam07"))
    official_source = official_cameras(THREE_FRAMES, "cam10", [2])[0]
    expected = np.linalg.inv(official_source) @ official_cameras(THREE_FRAMES, "cam07", [1, 2])
    vectors = pose_vectors(target.frames((1, 2)), source.frames((2,))).numpy()
    assert np.abs(vectors - expected[:, :3].reshape(-1, 12)).max() <= 1e-5


def test_absolute_matrices_are_rotations_as_rounded_as_the_file(three_frames: Path):
    trajectory = load_trajectory(three_frames, camera="cam01")
    # The world turns with the camera's axes (right, down, forward); digits stay those of the file.
    assert trajectory.c2w[1, :3].tolist() == [
        [0.984995, 0.0, 0.17258, 13.8],
        [0.0, 1.0, 0.0, -2.4],
        [-0.17258, 0.0, 0.984995, 33.9],
    ]
    assert (torch.linalg.det(trajectory.c2w[:, :3, :3]) > 0.999).all()
    assert torch.equal(trajectory.intrinsics, default_intrinsics(3))


@pytest.mark.parametrize(
    ("folder", "focal_mm"),
    [
        ("f18_aperture10", 18),
        ("f24_aperture5", 24),
        ("f35_aperture2.4", 35),
        ("f50_aperture2.4", 50),
    ],
)
def test_the_lens_is_the_folders(tmp_path: Path, folder: str, focal_mm: float):
    path = tmp_path / folder / "scene1" / "cameras" / "camera_extrinsics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(THREE_FRAMES))
    imported = load_cameras(path, ImportSettings(camera="cam01", aspect=1.0))
    # Square pixels of a square picture.
    assert imported.trajectory.intrinsics[2, 0, 0] == pytest.approx(focal_mm / 23.76)
    assert imported.trajectory.intrinsics[2, 1, 1] == pytest.approx(focal_mm / 23.76)
    assert f"The lens is the folder's: {focal_mm} mm on 23.76 mm" in imported.notes[0]


def test_without_such_a_folder_the_lens_is_assumed_and_said(three_frames: Path):
    (note,) = load_cameras(three_frames, ImportSettings(camera="cam01")).notes
    assert "no lens: 52.7 degrees across (the default lens, 24 mm on 23.76 mm) are assumed" in note
    imported = load_cameras(three_frames, ImportSettings("cam01", aspect=1.0, fov_deg=90.0))
    assert torch.allclose(imported.trajectory.intrinsics[0], intrinsics_matrix(0.5, 0.5))
    assert "90.0 degrees across (fov_deg)" in imported.notes[0]


def test_names_of_the_paths_are_listed(three_frames: Path, tmp_path: Path):
    assert camera_names(three_frames) == ("cam01", "cam07", "cam10")
    other = tmp_path / "transforms.json"
    other.write_text('{"frames": []}')
    assert camera_names(other) == ()


def test_export_and_import_give_the_same_cameras(three_frames: Path, tmp_path: Path):
    paths = {camera: load_trajectory(three_frames, camera=camera) for camera in GOLDEN}
    paths["orbit"] = make_preset(PresetConfig("orbit_left", 33.0, 3))
    save_recammaster(paths, tmp_path / "again.json")
    assert camera_names(tmp_path / "again.json") == tuple(paths)
    for camera, trajectory in paths.items():
        again = load_trajectory(tmp_path / "again.json", camera=camera)
        assert torch.allclose(again.c2w, trajectory.c2w, rtol=0, atol=1e-14)


def test_an_exported_preset_reads_the_same_in_the_official_loader(tmp_path: Path):
    preset = make_preset(PresetConfig("orbit_right", 50.0, 9))
    save_recammaster({"cam01": preset}, tmp_path / "preset.json")
    content = json.loads((tmp_path / "preset.json").read_text())
    official = official_pose_vectors(content, "cam01", list(range(9)))
    assert np.abs(official - pose_vectors(preset, preset).numpy()).max() < 1e-6


def test_export_wants_equal_lengths(tmp_path: Path):
    paths = {
        "a": make_preset(PresetConfig(num_frames=3)),
        "b": make_preset(PresetConfig(num_frames=4)),
    }
    with pytest.raises(ValueError, match=r"lengths \{'a': 3, 'b': 4\}.*resample"):
        save_recammaster(paths, tmp_path / "x.json")


def test_frames_are_ordered_by_number_not_by_name(tmp_path: Path):
    preset = make_preset(PresetConfig("pan_left", 40.0, 12))
    save_recammaster({"cam01": preset}, tmp_path / "x.json")
    content = json.loads((tmp_path / "x.json").read_text())
    (tmp_path / "x.json").write_text(json.dumps(dict(sorted(content.items()))))
    assert torch.allclose(load_trajectory(tmp_path / "x.json").c2w, preset.c2w, atol=1e-14)


def test_unknown_camera_lists_the_known_ones(three_frames: Path):
    message = (
        "camera_extrinsics.json got in frame0 cameras cam01, cam07, cam10, wanted camera "
        "'cam11'; choose a camera"
    )
    with pytest.raises(ValueError, match=message):
        load_trajectory(three_frames, camera="cam11")


def test_missing_frame_is_named(three_frames: Path):
    with pytest.raises(
        ValueError, match="got no frame1 among its 2 frames, wanted every frame.*restore"
    ):
        load_trajectory(edited(three_frames, {"frame1": None}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1 0 0 0] [0 1 0 0] [0 0 1 0] [nan 0 0 1]", "NaN or infinity in frame1, 'cam01'"),
        ("[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0]", "15 numbers in frame1, 'cam01', wanted 16"),
        (
            "[1 0 0 0] [0 1 0 0] [0 0 1 0] [x 0 0 1]",
            "a text of 1 characters as value 13 of frame1, 'cam01'",
        ),
        (
            "[1 0 0 5] [0 1 0 0] [0 0 1 0] [0 0 0 1]",
            r"last row \[5, 0, 0, 1\].* frame1, 'cam01', wanted \[0, 0, 0, 1\]; transpose",
        ),
        (
            "[2 0 0 0] [0 2 0 0] [0 0 2 0] [0 0 0 1]",
            "scaled, sheared or mirrored pose in frame1, 'cam01'",
        ),
        (
            "[-1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1]",
            "scaled, sheared or mirrored pose in frame1, 'cam01'",
        ),
    ],
)
def test_broken_matrices_are_named(three_frames: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(edited(three_frames, {"frame1": {"cam01": text}}))
