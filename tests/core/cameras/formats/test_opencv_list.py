"""Lists of cameras in OpenCV's axes."""

import json
import math
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.trajectory import default_intrinsics, intrinsics_matrix

# A camera at (1, 2, 3) that looks along the world's +X; its right is the world's -Z.
C2W = [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]]
# Its inverse: R^T and -R^T (1, 2, 3).
W2C = [[0, 0, -1, 3], [0, 1, 0, -2], [1, 0, 0, -1]]
ROTATION = [row[:3] for row in W2C]
FORMS = {
    "c2w": {"c2w": C2W},
    "camera_to_world of 12 numbers": {"camera_to_world": sum(C2W[:3], [])},
    "w2c": {"w2c": W2C},
    "extrinsics": {"extrinsics": W2C},
    "R and t": {"R": ROTATION, "t": [3, -2, -1]},
    "R and a column T": {"R": ROTATION, "T": [[3], [-2], [-1]]},
    "rvec and tvec": {"rvec": [0, -math.pi / 2, 0], "tvec": [3, -2, -1]},
    "rotation and position": {"rotation": [row[:3] for row in C2W[:3]], "position": [1, 2, 3]},
}


def written(folder: Path, content: object) -> Path:
    path = folder / "cameras.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_camera(tmp_path: Path, form: str):
    trajectory = load_trajectory(written(tmp_path, [FORMS[form], FORMS[form]]))
    assert torch.allclose(
        trajectory.c2w[1], torch.tensor(C2W, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    "lens",
    [
        {"K": [[150, 0, 100], [0, 160, 40], [0, 0, 1]], "width": 200, "height": 100},
        {"camera_matrix": [150, 0, 100, 0, 160, 40, 0, 0, 1], "w": 200, "h": 100},
        {"fx": 150, "fy": 160, "cx": 100, "cy": 40, "width": 200, "height": 100},
    ],
)
def test_lenses_are_in_pixels_and_may_be_shared(tmp_path: Path, lens: dict):
    expected = intrinsics_matrix(0.75, 1.6, 0.5, 0.4)
    alone = load_cameras(written(tmp_path, [{**FORMS["c2w"], **lens}]))
    shared = load_cameras(written(tmp_path, {"cameras": [FORMS["c2w"]], **lens}))
    for imported in (alone, shared):
        assert torch.allclose(imported.trajectory.intrinsics[0], expected)
        assert imported.notes == ()


def test_a_list_without_lenses_gets_the_default_lens_and_says_so(tmp_path: Path):
    imported = load_cameras(written(tmp_path, [FORMS["c2w"]]))
    assert torch.allclose(imported.trajectory.intrinsics, default_intrinsics(1))
    assert "The file has no lens" in imported.notes[0]


def test_distortion_is_said(tmp_path: Path):
    imported = load_cameras(written(tmp_path, [{**FORMS["c2w"], "dist": [[0.2, -0.3]]}]))
    assert "largest coefficient -0.3" in imported.notes[1]


def test_names_order_the_frames_and_then_numbers(tmp_path: Path):
    def camera(x: float, **fields: object) -> dict:
        return {"w2c": [[1, 0, 0, -x], [0, 1, 0, 0], [0, 0, 1, 0]], **fields}

    named = [camera(2, img_name="0002", id=0), camera(1, img_name="0001", id=1)]
    assert load_trajectory(written(tmp_path, named)).c2w[:, 0, 3].tolist() == [1.0, 2.0]
    counted = [camera(2, frame=2), camera(0, frame=0)]
    assert load_trajectory(written(tmp_path, counted)).c2w[:, 0, 3].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"R": ROTATION, "t": [1, 2]}, "2 numbers in t of frame 0, wanted 3"),
        ({"R": [1, 2], "t": [1, 2, 3]}, "2 numbers in R of frame 0"),
        ({"R": [[-1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [0, 0, 0]}, "mirrored pose in frame 0"),
        ({"c2w": [[2, 0, 0, 0], *C2W[1:]]}, "scaled, sheared or mirrored"),
        ({"w2c": "none"}, "a text of 4 characters as value 1 of w2c of frame 0"),
        ({**FORMS["c2w"], "K": [1, 2, 3]}, "intrinsics .* for frame 0"),
        ({**FORMS["c2w"], "fx": 3}, "fx in pixels for frame 0 without the picture's size"),
        ({**FORMS["c2w"], "K": [1, 0, 1, 0, 1, 1, 0, 0, 1]}, "without the picture's size"),
    ],
)
def test_broken_entries_are_named(tmp_path: Path, entry: dict, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(written(tmp_path, [entry]))


def test_a_later_entry_without_a_pose_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="keys 1 unknown key for frame 1, wanted one of c2w"):
        load_trajectory(written(tmp_path, [FORMS["c2w"], {"id": 7}]))


def test_bare_matrices_do_not_say_their_convention(tmp_path: Path):
    with pytest.raises(ValueError, match="bare matrices, which does not say if they are c2w or"):
        load_trajectory(written(tmp_path, [C2W, C2W]))
