"""Any field of any format with a wrong value is read or refused by name; nothing else happens."""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memv2v_core.cameras.formats.detection import load_cameras
from memv2v_core.cameras.formats.reading.results import ImportSettings

POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
KEY = {"position": [0, 0, 5], "target": [0, 0, 0], "fov": 40, "roll": 0, "zoom": 1}
TRACK = {
    "duration_frames": 2,
    "width": 64,
    "height": 64,
    "keyframes": [{"frame": 0, "camera": KEY, "interpolation": "ease"}],
    "constraints": {"look_at": {"status": "missing_target"}},
}
CONTENTS = {
    "transforms": {
        "camera_model": "OPENCV",
        "w": 8,
        "h": 4,
        "fl_x": 5,
        "cx": 4,
        "k1": 0,
        "frames": [{"file_path": f"f_{i}.png", "transform_matrix": POSE} for i in (1, 3)],
    },
    "blender": {
        "camera_angle_x": 0.7,
        "frames": [{"file_path": "r_0", "transform_matrix": POSE}],
    },
    "camera_path": {
        "camera_type": "perspective",
        "render_height": 4,
        "render_width": 8,
        "camera_path": [{"camera_to_world": sum(POSE, []), "fov": 50, "aspect": 2}],
    },
    "ns_export": [{"file_path": "f_1.png", "transform": POSE[:3]}],
    "recammaster": {"frame0": {"cam01": "[1 0 0 0] [0 1 0 0] [0 0 1 0] [0 0 0 1]"}},
    "omnicam": {
        "version": 1,
        "timeline": {},
        "canvas": {},
        "cameras": [{"id": "a", "track": TRACK}],
    },
    "opencv": {
        "width": 8,
        "height": 4,
        "cameras": [
            {"w2c": POSE, "K": [5, 0, 4, 0, 5, 2, 0, 0, 1], "img_name": "1", "dist": [0]},
            {"rotation": [row[:3] for row in POSE[:3]], "position": [0, 0, 0], "fx": 3, "id": 2},
        ],
    },
}
WRONG = (None, "x", "", [], {}, math.nan, -1, 0, 10**30, True, [["x"]], {"a": 1}, "f_9999999999")


def places(content: Any, place: tuple = ()) -> Iterator[tuple]:
    """Where the values of a content stand, the content itself included."""
    yield place
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inside:
        if isinstance(value, dict | list):
            yield from places(value, (*place, key))
        else:
            yield (*place, key)


def changed(content: Any, place: tuple, value: Any) -> Any:
    if not place:
        return value
    content = copy.deepcopy(content)
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return content


@pytest.mark.parametrize("name", CONTENTS)
def test_a_wrong_value_is_read_or_refused_by_name(tmp_path: Path, name: str):
    path = tmp_path / "cameras.json"
    settings = ImportSettings(camera="cam01", aspect=2.0)
    num_refused = 0
    for place in places(CONTENTS[name]):
        for value in WRONG:
            path.write_text(json.dumps(changed(CONTENTS[name], place, value)))
            try:
                load_cameras(path, settings)
            except ValueError as error:
                num_refused += 1
                if f"camera file {path} got" not in str(error):
                    pytest.fail(f"{place} = {value!r}: {error}")
    assert num_refused > 10
