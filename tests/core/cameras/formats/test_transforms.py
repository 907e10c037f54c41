import json
import math
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.formats.reading.results import ImportSettings
from memv2v_core.cameras.formats.transforms import save_transforms
from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix

IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
# A camera 4 units up the world's Z axis of Blender (Z up) that looks straight down at the origin.
FROM_ABOVE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]


def written(folder: Path, content: object) -> Path:
    path = folder / "transforms.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def blender(folder: Path, *matrices: object, **fields: object) -> Path:
    frames = [{"transform_matrix": matrix} for matrix in matrices]
    return written(
        folder, {"camera_angle_x": math.pi / 2, "w": 200, "h": 100, "frames": frames, **fields}
    )


def test_opengl_axes_become_opencv_axes(tmp_path: Path):
    trajectory = load_trajectory(blender(tmp_path, FROM_ABOVE))
    assert trajectory.c2w[0, :3, 2].tolist() == [0.0, 0.0, -1.0], "looks down"
    assert trajectory.c2w[0, :3, 1].tolist() == [0.0, -1.0, 0.0], "its picture's bottom lies at -Y"
    assert trajectory.c2w[0, :3, 3].tolist() == [0.0, 0.0, 4.0]


def test_angle_of_view_gives_square_pixels(tmp_path: Path):
    # 90 degrees across 200 pixels: 100 pixels focal length, half the width and all of the height.
    trajectory = load_trajectory(blender(tmp_path, IDENTITY))
    assert torch.allclose(trajectory.intrinsics[0], intrinsics_matrix(0.5, 1.0), atol=1e-12)


def test_vertical_angle_is_used_where_given(tmp_path: Path):
    trajectory = load_trajectory(blender(tmp_path, IDENTITY, camera_angle_y=math.pi / 2))
    assert torch.allclose(trajectory.intrinsics[0], intrinsics_matrix(0.5, 0.5), atol=1e-12)


def test_each_frame_may_have_its_own_lens(tmp_path: Path):
    frames = [
        {"transform_matrix": IDENTITY},
        {"transform_matrix": IDENTITY, "fl_x": 400, "fl_y": 300, "cx": 120, "cy": 40, "w": 400},
    ]
    path = written(tmp_path, {"fl_x": 100, "w": 200, "h": 100, "frames": frames})
    first, second = load_trajectory(path).intrinsics
    assert torch.equal(first, intrinsics_matrix(0.5, 1.0))
    assert torch.equal(second, intrinsics_matrix(1.0, 3.0, 0.3, 0.4))


def test_frames_follow_the_numbers_in_their_file_names(tmp_path: Path):
    frames = [
        {
            "file_path": f"./images/r_{number}",
            "transform_matrix": [*IDENTITY[:2], [0, 0, 1, number], IDENTITY[3]],
        }
        for number in (10, 2, 1)
    ]
    trajectory = load_trajectory(written(tmp_path, {"fl_x": 1, "w": 1, "h": 1, "frames": frames}))
    assert trajectory.num_frames == 10, "frames 3 to 9 lie between known ones"
    assert torch.allclose(trajectory.c2w[:, 2, 3], torch.arange(1.0, 11.0, dtype=torch.float64))


def test_frames_without_file_names_keep_their_order(tmp_path: Path):
    trajectory = load_trajectory(blender(tmp_path, FROM_ABOVE, IDENTITY))
    assert trajectory.c2w[:, 2, 3].tolist() == [4.0, 0.0]


def test_export_and_import_give_the_same_cameras_and_lenses(tmp_path: Path):
    moved = combine_paths(
        make_preset(PresetConfig("orbit_left", 40.0, 12)),
        make_preset(PresetConfig("tilt_up", 9.0, 12)),
    )
    lenses = torch.stack([intrinsics_matrix(1.0 + 0.1 * idx, 1.7, 0.51, 0.48) for idx in range(12)])
    trajectory = CameraTrajectory(moved.c2w, lenses)
    save_transforms(trajectory, tmp_path / "transforms.json", height=480, width=832)
    again = load_trajectory(tmp_path / "transforms.json")
    assert torch.equal(again.c2w, trajectory.c2w)
    assert torch.allclose(again.intrinsics, trajectory.intrinsics, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "{ not json",
            r"transforms\.json got no JSON .*line 1.*, wanted a JSON camera file; export",
        ),
        (
            "[1, 2]",
            "got JSON of a list of 2 without cameras, wanted one of: transforms.json of nerfstudio",
        ),
        ({"poses": []}, "got an object with 1 unknown key, wanted one of: .*COLMAP"),
        ({}, "got an object with 0 unknown keys"),
        ({"frames": []}, "got no frames, wanted one object with a transform_matrix per frame"),
        ({"frames": [3]}, "frames that are no objects .3 as 0., wanted one object"),
        (
            {"camera_model": "OPENCV_FISHEYE", "frames": [{}]},
            "camera_model OPENCV_FISHEYE, wanted one of.*undistort",
        ),
        (
            {"fl_x": 1, "w": 1, "h": 1, "frames": [{"file_path": "a.png"}]},
            "nothing as value 1 of frame 0, wanted numbers",
        ),
    ],
)
def test_unreadable_files_say_what_was_found_and_wanted(
    tmp_path: Path, content: object, message: str
):
    with pytest.raises(ValueError, match=message):
        load_trajectory(written(tmp_path, content))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"camera_angle_x": 40},
            "camera_angle_x = 40 for frame 0, wanted radians from 0 to below pi",
        ),
        ({"w": "wide"}, "w = a text of 4 characters for frame 0, wanted a positive finite number"),
        ({"h": 0}, "h = 0 for frame 0"),
        ({"fl_x": float("nan")}, "fl_x = NaN or infinity for frame 0"),
        ({"cx": float("inf")}, "cx = NaN or infinity for frame 0, wanted a finite number"),
    ],
)
def test_bad_lens_fields_are_named(tmp_path: Path, fields: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(blender(tmp_path, IDENTITY, **fields))


def test_a_lens_needs_the_picture_size(tmp_path: Path):
    path = written(tmp_path, {"fl_x": 700, "w": 9, "frames": [{"transform_matrix": IDENTITY}]})
    with pytest.raises(
        ValueError, match="got fields w, fl_x, transform_matrix, frames for frame 0, wanted w and h"
    ):
        load_trajectory(path)


def test_an_angle_alone_asks_for_the_aspect_and_takes_the_clips(tmp_path: Path):
    frames = [{"file_path": "./train/r_0", "transform_matrix": IDENTITY}]
    path = written(tmp_path, {"camera_angle_x": math.pi / 2, "frames": frames})
    with pytest.raises(ValueError, match="camera_angle_x alone.*connect the clip, or enter"):
        load_trajectory(path)
    imported = load_cameras(path, ImportSettings(aspect=2.0))
    assert torch.allclose(imported.trajectory.intrinsics[0], intrinsics_matrix(0.5, 1.0))


def test_three_rows_are_a_matrix(tmp_path: Path):
    assert torch.equal(
        load_trajectory(blender(tmp_path, FROM_ABOVE[:3])).c2w,
        load_trajectory(blender(tmp_path, FROM_ABOVE)).c2w,
    )


def test_lens_distortion_is_said(tmp_path: Path):
    assert load_cameras(blender(tmp_path, IDENTITY, k1=0.0)).notes == ()
    (note,) = load_cameras(blender(tmp_path, IDENTITY, k1=-0.03)).notes
    assert "distortion (largest coefficient -0.03) is not used" in note


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (
            [[1, 0, 0, float("nan")], *IDENTITY[1:]],
            "NaN or infinity in frame 1, wanted finite numbers",
        ),
        (IDENTITY[:2], "8 numbers in frame 1, wanted 16 or 12"),
        ([[0.5, 0, 0, 0], *IDENTITY[1:]], "scaled, sheared or mirrored pose in frame 1"),
        ([[-1, 0, 0, 0], *IDENTITY[1:]], "scaled, sheared or mirrored pose in frame 1"),
        ("none", "a text of 4 characters as value 1 of frame 1"),
    ],
)
def test_broken_matrices_are_named(tmp_path: Path, matrix: object, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(blender(tmp_path, IDENTITY, matrix))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"nowhere\.json got no file of this name"):
        load_trajectory(tmp_path / "nowhere.json")


def test_a_binary_file_is_no_camera_file(tmp_path: Path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"x\.json got no text"):
        load_trajectory(tmp_path / "x.json")
