"""nerfstudio's camera_path.json."""

import json
import math
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.camera_path import save_camera_path
from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    intrinsics_matrix,
    lens_intrinsics,
    pose_vectors,
)

# Turned 90 degrees to the left: OpenGL's back axis (-forward) points to the world's +X.
LEFT = [0, 0, 1, 5, 0, 1, 0, 6, -1, 0, 0, 7, 0, 0, 0, 1]


def written(folder: Path, **changes: object) -> Path:
    frame = {"camera_to_world": LEFT, "fov": 90, "aspect": 2.0}
    content = {
        "camera_type": "perspective",
        "render_height": 480,
        "render_width": 960,
        "keyframes": [],
        "camera_path": [frame, frame],
        **changes,
    }
    path = folder / "camera_path.json"
    path.write_text(json.dumps(content))
    return path


def test_opengl_axes_and_the_vertical_angle(tmp_path: Path):
    trajectory = load_trajectory(written(tmp_path))
    assert trajectory.c2w[0, :3].tolist() == [
        [0.0, 0.0, -1.0, 5.0],
        [0.0, -1.0, 0.0, 6.0],
        [-1.0, 0.0, 0.0, 7.0],
    ]
    # 90 degrees from top to bottom: half a height of focal length, a quarter of the width.
    assert torch.allclose(trajectory.intrinsics[1], intrinsics_matrix(0.25, 0.5))


def test_the_size_of_the_render_wins_over_the_frames_aspect(tmp_path: Path):
    trajectory = load_trajectory(written(tmp_path, render_width=480))
    assert torch.allclose(trajectory.intrinsics[0], intrinsics_matrix(0.5, 0.5))


def test_export_and_import_give_the_same_cameras_and_lenses(tmp_path: Path):
    lens = lens_intrinsics(60.0, 832 / 480)
    moved = combine_paths(
        make_preset(PresetConfig("orbit_left", 40.0, 12), lens),
        make_preset(PresetConfig("tilt_up", 9.0, 12), lens),
    )
    path = tmp_path / "path.json"
    save_camera_path(moved, path, height=480, width=832, fps=24.0)
    imported = load_cameras(path)
    assert torch.equal(imported.trajectory.c2w, moved.c2w)
    assert torch.allclose(imported.trajectory.intrinsics, moved.intrinsics, atol=1e-12)
    assert imported.notes == ()


def test_an_exported_path_reads_the_same_in_nerfstudios_own_arithmetic(tmp_path: Path):
    # Like get_path_from_json and three_js_perspective_camera_focal_length of nerfstudio.
    pan = make_preset(PresetConfig("pan_left", 30.0, 3), lens_intrinsics(60.0, 2.0))
    save_camera_path(pan, tmp_path / "path.json", height=100, width=200, fps=10.0)
    content = json.loads((tmp_path / "path.json").read_text())
    assert content["seconds"] == pytest.approx(0.3)
    last = content["camera_path"][-1]
    focal_px = 0.5 * content["render_height"] / math.tan(math.radians(last["fov"]) / 2)
    assert focal_px == pytest.approx(100 / math.tan(math.radians(30)))
    c2w = torch.tensor(last["camera_to_world"], dtype=torch.float64).view(4, 4)
    # In OpenGL a pan to the left is a positive turn about the up axis.
    assert c2w[0, 2] == pytest.approx(math.sin(math.radians(30)))
    assert content["keyframes"][0]["matrix"] == content["camera_path"][0]["camera_to_world"]
    again = load_trajectory(tmp_path / "path.json")
    assert torch.allclose(pose_vectors(again, again), pose_vectors(pan, pan))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_type": "equirectangular"}, "camera_type equirectangular, wanted perspective"),
        ({"camera_path": []}, "got no frames, wanted one object with a camera_to_world"),
        ({"camera_path": {}}, "got an object of 0 fields for the frames"),
        (
            {"camera_path": [{"fov": 50}]},
            "nothing as value 1 of frame 0 of camera_path, wanted numbers",
        ),
        ({"camera_path": [{"camera_to_world": LEFT}]}, "fov nothing and aspect 2 for frame 0"),
        ({"camera_path": [{"camera_to_world": LEFT, "fov": 180}]}, "fov 180 and aspect 2"),
        ({"camera_path": [{"camera_to_world": [*LEFT[:15], 2], "fov": 9}]}, "last row"),
        ({"camera_path": [{"camera_to_world": [-v for v in LEFT[:12]], "fov": 9}]}, "mirrored"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(written(tmp_path, **changes))


def test_a_lens_without_a_place_in_the_format_is_refused(tmp_path: Path):
    pan = make_preset(PresetConfig(num_frames=2), lens_intrinsics(60.0, 1.0))
    with pytest.raises(ValueError, match="width / height got 2.000, wanted 1.000, the lens's own"):
        save_camera_path(pan, tmp_path / "x.json", height=100, width=200, fps=24.0)
    shifted = CameraTrajectory(pan.c2w, intrinsics_matrix(1.0, 1.0, 0.6).repeat(2, 1, 1))
    with pytest.raises(ValueError, match="the lens centre got .*choose transforms.json"):
        save_camera_path(shifted, tmp_path / "x.json", height=100, width=100, fps=24.0)
