"""Motion scenes and tracks of OmniCam."""

import json
import math
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_cameras, load_trajectory
from memv2v_core.cameras.trajectory import intrinsics_matrix


def key(frame: int, interpolation: str = "linear", **camera: object) -> dict:
    state = {
        "position": [0, 0, 5],
        "target": [0, 0, 0],
        "fov": 90,
        "roll": 0,
        "camera_type": "perspective",
        "zoom": 1,
        **camera,
    }
    return {"frame": frame, "camera": state, "interpolation": interpolation}


def track(*keys: dict, **changes: object) -> dict:
    return {
        "schema_version": 1,
        "fps": 24,
        "duration_frames": 5,
        "width": 200,
        "height": 100,
        "keyframes": list(keys),
        "objects": [],
        "metadata": {},
        **changes,
    }


def scene(**tracks: dict) -> dict:
    return {
        "version": 1,
        "timeline": {"duration_seconds": 5 / 24, "authoring_fps": 24},
        "canvas": {"width": 200, "height": 100},
        "cameras": [
            {"id": name, "label": name.title(), "enabled": True, "track": content}
            for name, content in tracks.items()
        ],
    }


def written(folder: Path, content: object) -> Path:
    path = folder / "scene.json"
    path.write_text(json.dumps(content))
    return path


def test_a_look_at_camera_in_a_world_with_y_up(tmp_path: Path):
    trajectory = load_trajectory(written(tmp_path, scene(main=track(key(0)))))
    assert trajectory.num_frames == 5
    # At (0, 0, 5), looking along -Z, right is +X and down is -Y.
    expected = [[1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, -1.0, 5.0]]
    assert trajectory.c2w[4, :3].tolist() == expected
    assert torch.allclose(trajectory.intrinsics[0], intrinsics_matrix(0.25, 0.5))


def test_a_roll_turns_right_towards_up(tmp_path: Path):
    c2w = load_trajectory(written(tmp_path, track(key(0, roll=90)))).c2w[0]
    assert torch.allclose(c2w[:3, 0], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert torch.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)


# OmniCam's own sampling of 0 to 16 over four frames: linear, then its easings in track.py.
@pytest.mark.parametrize(
    ("easing", "places"),
    [
        ("linear", [0, 4, 8, 12, 16]),
        ("hold", [0, 0, 0, 0, 16]),
        ("ease", [0, 2.5, 8, 13.5, 16]),
        ("ease_in", [0, 1, 4, 9, 16]),
        ("ease_out", [0, 7, 12, 15, 16]),
        ("smooth", [0, 1.65625, 8, 14.34375, 16]),
    ],
)
def test_easings_are_those_of_the_earlier_key(tmp_path: Path, easing: str, places: list[float]):
    keys = (key(4, position=[16, 0, 5]), key(0, easing))
    trajectory = load_trajectory(written(tmp_path, track(*keys)))
    assert trajectory.c2w[:, 0, 3].tolist() == pytest.approx(places)


def test_rolls_take_the_shorter_way_and_angles_change(tmp_path: Path):
    # From 170 to -170 degrees, half-way at 180; the angle of view from 90 to 60, at 75.
    keys = (key(0, roll=170), key(4, roll=-170, fov=60))
    trajectory = load_trajectory(written(tmp_path, track(*keys)))
    assert trajectory.c2w[2, :3, 0].tolist() == pytest.approx([-1.0, 0.0, 0.0], abs=1e-12)
    focal = 0.5 / math.tan(math.radians(37.5))
    assert trajectory.intrinsics[2, 1, 1] == pytest.approx(focal)


def test_straight_down_is_a_camera_too(tmp_path: Path):
    c2w = load_trajectory(written(tmp_path, track(key(0, position=[0, 5, 0])))).c2w[0]
    assert c2w[:3, 2].tolist() == [0.0, -1.0, 0.0]
    assert torch.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)


def test_several_cameras_are_asked_for_by_id_or_label(tmp_path: Path):
    path = written(tmp_path, scene(wide=track(key(0)), close=track(key(0, position=[0, 0, 1]))))
    with pytest.raises(
        ValueError,
        match="2 cameras, 0 of them with this id or label, wanted one in camera, not 'x'",
    ):
        load_trajectory(path, camera="x")
    for name in ("close", "Close"):
        assert load_trajectory(path, camera=name).c2w[0, 2, 3] == 1.0


def test_zoom_is_said(tmp_path: Path):
    imported = load_cameras(written(tmp_path, track(key(0, zoom=2))))
    assert "OmniCam's zoom is not used" in imported.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**track(key(0)), "schema_version": 2}, "version 2 of OmniCam's format, wanted version 1"),
        (track(), "got no frames, wanted one object with a camera"),
        (track(key(0), duration_frames=0), "duration_frames = 0 for the track"),
        (track(key(0), duration_frames=10**9), "all three, and 1 to 14400 frames"),
        (track(key(0, "bezier"), key(4)), "interpolation bezier at frame 0, wanted one of hold"),
        (track(key(0, camera_type="orthographic")), "orthographic camera in keyframe 0"),
        (track(key(0, fov=180)), "fov 180 in keyframe 0"),
        (track(key(0, position=[1, 2])), "2 numbers of position, 3 of target and fov"),
        (track(key(0, target=[1, 2, math.nan])), "NaN or infinity in the target of keyframe 0"),
        (track({"frame": 0}), "a keyframe at frame 0 with nothing as its camera"),
        (scene(a={}), "width nothing, height nothing and"),
        (
            track(key(0), constraints={"look_at": {"status": "active"}}),
            "an active look-at constraint.*bake",
        ),
    ],
)
def test_what_cannot_be_followed_is_named(tmp_path: Path, content: dict, message: str):
    with pytest.raises(ValueError, match=message):
        load_trajectory(written(tmp_path, content))
