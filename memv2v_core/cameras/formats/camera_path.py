"""The camera path of nerfstudio's viewer, camera_path.json, to our convention and back.

The file holds one OpenGL camera-to-world matrix of 16 numbers a frame, row by row, the vertical
angle of view in degrees, and the size of the rendered picture. Pixels are square, the image centre
is the lens centre.

Source: nerfstudio, cameras/camera_paths.py (get_path_from_json) and viewer/render_panel.py.
"""

import json
import math
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..trajectory import CameraTrajectory
from .reading.content import file_error, number_reader, require_objects
from .reading.found import kind_of, known_or_kind
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import lens_matrix
from .reading.poses import opencv_from_opengl, read_pose
from .reading.results import ImportedCameras, ImportSettings

# Sizes are whole pixels: a lens of square pixels is this exact.
_TOLERANCE = 0.01
_LEAST_FOV_DEG = 1 / 3600
# What nerfstudio renders.
_CAMERA_TYPES = ("perspective", "fisheye", "equirectangular")


def is_camera_path(content: Any) -> bool:
    """Whether a JSON file's content has the camera path of nerfstudio's viewer."""
    return isinstance(content, dict) and "camera_path" in content


def read_camera_path(
    content: dict[str, Any], path: Path, settings: ImportSettings
) -> ImportedCameras:
    """The rendered frames of a camera_path.json, in the file's order.

    Raises: ValueError naming the file, the frame, what was found and the remedy.
    """
    kind = content.get("camera_type", "perspective")
    kind = kind.lower() if isinstance(kind, str) else kind
    if kind != "perspective":
        raise file_error(
            path,
            f"camera_type {known_or_kind(kind, _CAMERA_TYPES)}",
            "perspective",
            "render a perspective path in the viewer",
        )
    entries = require_objects(content["camera_path"], path, "a camera_to_world")
    frames = []
    for frame_idx, entry in enumerate(entries):
        where = f"frame {frame_idx} of camera_path"
        pose = read_pose(entry.get("camera_to_world"), path, where)
        lens = _lens(ChainMap(entry, content), path, where)
        frames.append(PlacedFrame(None, opencv_from_opengl(pose), lens))
    return path_of_frames(frames, path, settings)


def save_camera_path(
    trajectory: CameraTrajectory, path: str | Path, *, height: int, width: int, fps: float
) -> None:
    """Write a path as camera_path.json for pictures of `height` x `width` pixels.

    Every frame is a keyframe too, so the viewer shows the same path.

    Raises: ValueError for a lens that the format has no place for: pixels that are not square at
    this size, or a centre that is not the picture's.
    """
    _require_plain_lens(trajectory, width / height)
    # The vertical angle: half of the picture's height under half of the angle.
    fovs_deg = [
        math.degrees(2 * math.atan(0.5 / fy)) for fy in trajectory.intrinsics[:, 1, 1].tolist()
    ]
    matrices = opencv_from_opengl(trajectory.c2w).reshape(-1, 16).tolist()
    cameras = list(zip(matrices, fovs_deg, strict=True))
    shown = {"aspect": width / height}
    content = {
        "default_fov": fovs_deg[0],
        "default_transition_sec": 1 / fps,
        "keyframes": [{"matrix": matrix, "fov": fov, **shown} for matrix, fov in cameras],
        "camera_type": "perspective",
        "render_height": height,
        "render_width": width,
        "fps": fps,
        "seconds": trajectory.num_frames / fps,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "camera_path": [
            {"camera_to_world": matrix, "fov": fov, **shown} for matrix, fov in cameras
        ],
    }
    Path(path).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _lens(fields: Mapping[str, Any], path: Path, where: str) -> torch.Tensor:
    """Normalised intrinsics (3, 3). The size of the rendered picture wins over a frame's aspect."""
    number = number_reader(fields, path, where)
    fov_deg = number("fov")
    width, height = number("render_width"), number("render_height")
    aspect = width / height if width and height else number("aspect")
    # Angles below a second would divide by zero.
    if fov_deg is None or not _LEAST_FOV_DEG <= fov_deg < 180 or not aspect:
        raise file_error(
            path,
            f"fov {kind_of(fov_deg)} and aspect {kind_of(aspect)} for {where}",
            "a vertical angle below 180 degrees, and render_width and render_height",
            "write the path in nerfstudio's viewer again",
        )
    focal = 0.5 / math.tan(math.radians(fov_deg) / 2)
    return lens_matrix(focal / aspect, focal, path, where)


def _require_plain_lens(trajectory: CameraTrajectory, aspect: float) -> None:
    lens = trajectory.intrinsics
    old = lens[:, 1, 1] / lens[:, 0, 0]
    if ((old / aspect - 1).abs() > _TOLERANCE).any():
        raise ValueError(
            f"width / height got {aspect:.3f}, wanted {float(old[0]):.3f}, the lens's own: "
            "camera_path.json knows only square pixels; set width and height to the clip's size"
        )
    if ((lens[:, :2, 2] - 0.5).abs() > _TOLERANCE).any():
        raise ValueError(
            f"the lens centre got {lens[0, :2, 2].tolist()}, wanted the picture's centre (0.5, "
            "0.5): camera_path.json has no place for another; choose transforms.json"
        )
