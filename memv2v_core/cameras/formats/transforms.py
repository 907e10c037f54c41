"""nerfstudio's and Blender's transforms.json to our convention and back.

The file holds right-handed OpenGL camera-to-world matrices (+X right, +Y up, +Z back) of any world.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..trajectory import CameraTrajectory, intrinsics_matrix
from .reading import file_error, pose_matrix, require_pose

# Turns OpenGL camera axes into OpenCV ones, and back.
_OPENGL_FLIP = (1.0, -1.0, -1.0, 1.0)
_PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")


def is_transforms(content: dict[str, Any]) -> bool:
    """Whether a JSON file's content has the list of frames of a transforms.json."""
    return isinstance(content.get("frames"), list)


def read_transforms(content: dict[str, Any], path: Path) -> CameraTrajectory:
    """The path in the content of a transforms.json.

    Our choice: frames are sorted by the numbers in their file names, since tools list them in any
    order. Our cameras have no lens distortion, so distortion fields are ignored.
    """
    frames = content["frames"]
    if not frames or not all(isinstance(frame, dict) for frame in frames):
        got = "no frames" if not frames else "entries in 'frames' that are no objects"
        raise file_error(
            path, got, "one object with a transform_matrix per frame", "export the path again"
        )
    model = content.get("camera_model", "OPENCV")
    # Other models bend rays, which intrinsics of 3 x 3 numbers cannot express.
    if model not in _PINHOLE_MODELS:
        wanted = f"one of {', '.join(_PINHOLE_MODELS)}"
        raise file_error(path, f"camera_model {model}", wanted, "undistort the video first")
    if all(isinstance(frame.get("file_path"), str) for frame in frames):
        frames = sorted(frames, key=lambda frame: _natural_order(frame["file_path"]))
    flip = torch.tensor(_OPENGL_FLIP, dtype=torch.float64)
    poses, lenses = [], []
    for frame_idx, frame in enumerate(frames):
        where = f"frame {frame_idx} ({frame.get('file_path', 'unnamed')})"
        rows = frame.get("transform_matrix")
        words = [number for row in rows for number in row] if _is_table(rows) else [rows]
        matrix = pose_matrix(words, path, where)
        require_pose(matrix, path, where)
        # The flip turns the camera axes; the world of the file stays, since any world will do.
        poses.append(matrix * flip)
        lenses.append(_transforms_lens({**content, **frame}, path, where))
    return CameraTrajectory(torch.stack(poses), torch.stack(lenses))


def save_transforms(
    trajectory: CameraTrajectory, path: str | Path, *, height: int, width: int
) -> None:
    """Write a path as transforms.json for images of `height` x `width` pixels.

    Every frame keeps its own lens.
    """
    flip = torch.tensor(_OPENGL_FLIP, dtype=torch.float64)
    frames = [
        {
            "file_path": f"images/frame_{frame_idx:05d}.png",
            "fl_x": lens[0][0] * width,
            "fl_y": lens[1][1] * height,
            "cx": lens[0][2] * width,
            "cy": lens[1][2] * height,
            "transform_matrix": matrix,
        }
        for frame_idx, (matrix, lens) in enumerate(
            zip((trajectory.c2w * flip).tolist(), trajectory.intrinsics.tolist(), strict=True)
        )
    ]
    content = {"camera_model": "PINHOLE", "w": width, "h": height, "frames": frames}
    Path(path).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _transforms_lens(fields: dict[str, Any], path: Path, where: str) -> torch.Tensor:
    """Normalised intrinsics (3, 3). The frame's fields win over the file's fields."""
    number = _number_reader(fields, path, where)
    width, height = number("w"), number("h")
    fx = _focal_length(number, "fl_x", "camera_angle_x", width)
    fy = _focal_length(number, "fl_y", "camera_angle_y", height)
    # The vertical focal length may be missing, the horizontal one not.
    if fx is None or width is None or height is None:
        got = f"fields {', '.join(name for name in fields if name != 'frames')} for {where}"
        raise file_error(
            path, got, "w and h in pixels, and fl_x or camera_angle_x", "add them to the file"
        )
    cx, cy = number("cx"), number("cy")
    return intrinsics_matrix(
        fx / width,
        # Pixels are square where only one focal length is given.
        (fx if fy is None else fy) / height,
        0.5 if cx is None else cx / width,
        0.5 if cy is None else cy / height,
    )


def _number_reader(fields: dict[str, Any], path: Path, where: str) -> Callable[[str], float | None]:
    def number(name: str) -> float | None:
        if name not in fields:
            return None
        value = fields[name]
        is_centre = name in ("cx", "cy")
        if not _is_number(value) or not math.isfinite(value) or (value <= 0 and not is_centre):
            wanted = "a finite number" if is_centre else "a positive finite number"
            raise file_error(
                path, f"{name} = {value!r} for {where}", wanted, "correct it in the file"
            )
        return float(value)

    return number


def _focal_length(
    number: Callable[[str], float | None], focal: str, angle: str, size: float | None
) -> float | None:
    """Focal length in pixels, from the focal field or from the angle of view in radians."""
    length, angle_rad = number(focal), number(angle)
    if length is not None or angle_rad is None or size is None:
        return length
    # A pinhole sees half of the size under half of the angle.
    return size / (2 * math.tan(angle_rad / 2))


def _is_table(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts r_2 before r_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
