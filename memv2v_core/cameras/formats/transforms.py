"""nerfstudio's and Blender's transforms.json to our convention and back.

The file holds right-handed OpenGL camera-to-world matrices (+X right, +Y up, +Z back) of any world,
as 4x4 or 3x4 numbers. The lens stands in the file or in each frame. NeRF-synthetic files of Blender
hold one angle, `camera_angle_x`, and no picture size.

Source: https://docs.nerf.studio/quickstart/data_conventions.html.
"""

import json
import math
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..trajectory import CameraTrajectory
from .reading.content import (
    NumberReader,
    file_error,
    finite_numbers,
    number_reader,
    require_objects,
)
from .reading.found import known_keys, known_or_kind
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import distortion_note, focal_of_angle, pixel_lens
from .reading.poses import opencv_from_opengl, read_pose
from .reading.results import ImportedCameras, ImportSettings

_PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")
# What nerfstudio knows and our cameras cannot follow.
_OTHER_MODELS = ("OPENCV_FISHEYE", "EQUIRECTANGULAR", "FISHEYE", "SIMPLE_RADIAL", "RADIAL")
_DISTORTIONS = ("k1", "k2", "k3", "k4", "p1", "p2")
# A smaller angle would divide by zero.
_LEAST_ANGLE_RAD = 1e-6
_LENS_KEYS = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "camera_angle_y")
_KNOWN_KEYS = (*_LENS_KEYS, "camera_model", "file_path", "transform_matrix", "frames")


def is_transforms(content: Any) -> bool:
    """Whether a JSON file's content has the list of frames of a transforms.json."""
    return isinstance(content, dict) and isinstance(content.get("frames"), list)


def read_transforms(
    content: dict[str, Any], path: Path, settings: ImportSettings
) -> ImportedCameras:
    """The path in the content of a transforms.json, in the order of the picture names.

    Our cameras have no lens distortion; a note says where the file has some.

    Raises: ValueError naming the file, the frame, what was found and the remedy.
    """
    entries = require_objects(content["frames"], path, "a transform_matrix")
    frames, bent = [], [0.0]
    for frame_idx, entry in enumerate(entries):
        where = f"frame {frame_idx}"
        # The frame's fields win over the file's fields.
        fields = ChainMap(entry, content)
        _require_pinhole(fields, path)
        pose = read_pose(entry.get("transform_matrix"), path, where)
        name = entry.get("file_path")
        lens = _lens(fields, path, where, settings.aspect)
        frames.append(
            PlacedFrame(name if isinstance(name, str) else None, opencv_from_opengl(pose), lens)
        )
        given = [fields[key] for key in _DISTORTIONS if _is_number(fields.get(key))]
        bent += finite_numbers(given, path, f"the distortion of {where}")
    return path_of_frames(frames, path, settings, distortion_note(bent))


def save_transforms(
    trajectory: CameraTrajectory, path: str | Path, *, height: int, width: int
) -> None:
    """Write a path as transforms.json for images of `height` x `width` pixels.

    Every frame keeps its own lens.
    """
    poses = opencv_from_opengl(trajectory.c2w).tolist()
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
            zip(poses, trajectory.intrinsics.tolist(), strict=True)
        )
    ]
    content = {"camera_model": "PINHOLE", "w": width, "h": height, "frames": frames}
    Path(path).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _require_pinhole(fields: Mapping[str, Any], path: Path) -> None:
    model = fields.get("camera_model", "OPENCV")
    # Other models bend rays, which intrinsics of 3 x 3 numbers cannot express.
    if model not in _PINHOLE_MODELS:
        wanted = f"one of {', '.join(_PINHOLE_MODELS)}"
        got = f"camera_model {known_or_kind(model, _OTHER_MODELS)}"
        raise file_error(path, got, wanted, "undistort the video first")


def _lens(fields: Mapping[str, Any], path: Path, where: str, aspect: float | None) -> torch.Tensor:
    """Normalised intrinsics (3, 3).

    aspect: of the clip; only an angle without a picture size needs it.
    """
    number = number_reader(fields, path, where)
    width, height = number("w"), number("h")
    is_angle_alone = width is None and height is None and number("fl_x") is None
    if is_angle_alone and number("camera_angle_x") is not None:
        if aspect is None:
            raise file_error(
                path,
                f"camera_angle_x alone for {where}",
                "the picture's width / height too",
                "connect the clip, or enter its aspect",
            )
        # Any size will do: the lens is divided by it.
        width, height = aspect, 1.0
    for angle in ("camera_angle_x", "camera_angle_y"):
        angle_rad = number(angle)
        if angle_rad is not None and not _LEAST_ANGLE_RAD <= angle_rad < math.pi:
            got = f"{angle} = {angle_rad:g} for {where}"
            raise file_error(path, got, "radians from 0 to below pi", "divide degrees by 57.3")
    fx = _focal_length(number, "fl_x", "camera_angle_x", width)
    fy = _focal_length(number, "fl_y", "camera_angle_y", height)
    # The vertical focal length may be missing, the horizontal one not.
    if fx is None or width is None or height is None:
        got = f"fields {known_keys(fields, _KNOWN_KEYS)} for {where}"
        raise file_error(
            path, got, "w and h in pixels, and fl_x or camera_angle_x", "add them to the file"
        )
    size = {"width_px": width, "height_px": height}
    return pixel_lens(fx, fy, number("cx"), number("cy"), **size, path=path, where=where)


def _focal_length(
    number: NumberReader, focal: str, angle: str, size_px: float | None
) -> float | None:
    """Focal length in pixels, from the focal field or from the angle of view in radians."""
    length, angle_rad = number(focal), number(angle)
    if length is not None or angle_rad is None or size_px is None:
        return length
    return focal_of_angle(angle_rad, size_px)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
