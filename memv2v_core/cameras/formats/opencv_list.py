"""Lists of cameras in OpenCV's axes, as JSON, to our convention.

Each camera names its convention by its keys:
- c2w, camera_to_world, cam2world: a camera-to-world matrix.
- w2c, world_to_camera, world2cam, extrinsic, extrinsics: a world-to-camera matrix.
- R and t (or T), rvec and tvec: OpenCV's world-to-camera rotation and translation, as solvePnP
  returns them.
- rotation and position: a camera-to-world rotation and the camera's place, as the cameras.json of
  gaussian splatting.

The lens is K (camera_matrix, intrinsic, intrinsics) or fx, fy, cx, cy in pixels, with width and
height. The list stands alone or under `cameras`; fields beside it count for every camera.

Source: https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html; gaussian-splatting,
utils/camera_utils.py (camera_to_JSON).
"""

from collections import ChainMap
from pathlib import Path
from typing import Any

import torch
from kornia.geometry import axis_angle_to_rotation_matrix

from .reading.content import (
    NumberReader,
    file_error,
    finite_numbers,
    flat,
    number_reader,
    require_objects,
)
from .reading.found import known_keys
from .reading.frames import PlacedFrame, path_of_frames
from .reading.lenses import distortion_note, lens_from_matrix, lens_of_settings, pixel_lens
from .reading.poses import inverse_pose, pose_from_parts, read_pose, require_pose
from .reading.results import ImportedCameras, ImportSettings

_C2W_KEYS = ("c2w", "camera_to_world", "cam2world")
_W2C_KEYS = ("w2c", "world_to_camera", "world2cam", "extrinsic", "extrinsics")
# Rotation, translation, and whether they lead to the camera.
_PART_KEYS = (("R", "t", True), ("R", "T", True), ("rvec", "tvec", True))
_PLACE_KEYS = (("rotation", "position", False),)
_MATRIX_KEYS = ("K", "camera_matrix", "intrinsic", "intrinsics")
_NAME_KEYS = ("file_path", "img_name", "image_name", "image", "name")
_NUMBER_KEYS = ("frame", "frame_idx", "frame_id", "id")
_SIZE_KEYS = {"width": ("width", "w", "image_width"), "height": ("height", "h", "image_height")}
_DISTORTION_KEYS = ("dist", "distortion", "dist_coeffs")
_POSE_KEYS = tuple(
    dict.fromkeys(
        (
            *_C2W_KEYS,
            *_W2C_KEYS,
            *(key for a, b, _ in (*_PART_KEYS, *_PLACE_KEYS) for key in (a, b)),
        )
    )
)


def is_opencv_list(content: Any) -> bool:
    """Whether a JSON file's content is a list of cameras whose keys name a convention."""
    entries = _entries(content)
    is_list = isinstance(entries, list) and bool(entries) and isinstance(entries[0], dict)
    return is_list and _has_pose(entries[0])


def read_opencv_list(content: Any, path: Path, settings: ImportSettings) -> ImportedCameras:
    """The path in the order of the picture names, else of the frame numbers, else of the list.

    Raises: ValueError naming the file, the frame, what was found and the remedy.
    """
    shared = content if isinstance(content, dict) else {}
    frames, notes, bent = [], [], [0.0]
    for frame_idx, entry in enumerate(require_objects(_entries(content), path, "c2w or w2c")):
        name = _name(entry)
        where = f"frame {frame_idx}"
        fields = ChainMap(entry, shared)
        lens = _lens(fields, path, where)
        if lens is None:
            lens, note = lens_of_settings(settings)
            notes = [note]
        frames.append(PlacedFrame(name, _c2w(entry, path, where), lens))
        for key in _DISTORTION_KEYS:
            what = f"{key} of {where}"
            bent += finite_numbers(flat(fields.get(key, []), path, what), path, what)
    return path_of_frames(frames, path, settings, (*notes, *distortion_note(bent)))


def _entries(content: Any) -> Any:
    return content.get("cameras") if isinstance(content, dict) else content


def _has_pose(entry: dict[str, Any]) -> bool:
    pairs = ({first, second} for first, second, _ in (*_PART_KEYS, *_PLACE_KEYS))
    return not entry.keys().isdisjoint((*_C2W_KEYS, *_W2C_KEYS)) or any(
        pair <= entry.keys() for pair in pairs
    )


def _name(entry: dict[str, Any]) -> str | None:
    for key in (*_NAME_KEYS, *_NUMBER_KEYS):
        value = entry.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
    return None


def _c2w(entry: dict[str, Any], path: Path, where: str) -> torch.Tensor:
    """Camera-to-world (4, 4) float64.

    Raises: ValueError where no key names the convention.
    """
    for key in (*_C2W_KEYS, *_W2C_KEYS):
        if key in entry:
            pose = read_pose(entry[key], path, f"{key} of {where}")
            return pose if key in _C2W_KEYS else inverse_pose(pose)
    for rotation_key, place_key, leads_to_camera in (*_PART_KEYS, *_PLACE_KEYS):
        if rotation_key in entry and place_key in entry:
            rotation = _rotation(entry[rotation_key], path, f"{rotation_key} of {where}")
            what = f"{place_key} of {where}"
            place = finite_numbers(flat(entry[place_key], path, what), path, what)
            if len(place) != 3:
                got = f"{len(place)} numbers in {what}"
                raise file_error(path, got, "3", "export the file again")
            pose = pose_from_parts(rotation, torch.tensor(place, dtype=torch.float64))
            require_pose(pose, path, where)
            return inverse_pose(pose) if leads_to_camera else pose
    raise file_error(
        path,
        f"keys {known_keys(entry, _POSE_KEYS)} for {where}",
        f"one of {', '.join((*_C2W_KEYS, *_W2C_KEYS))}, or R and t, or rotation and position",
        "name the matrix by its convention",
    )


def _rotation(value: Any, path: Path, where: str) -> torch.Tensor:
    """(3, 3) float64 of nine numbers, row by row, or of OpenCV's rotation vector in radians."""
    given = finite_numbers(flat(value, path, where), path, where)
    numbers = torch.tensor(given, dtype=torch.float64)
    if len(numbers) == 3:
        return axis_angle_to_rotation_matrix(numbers[None])[0]
    if len(numbers) != 9:
        got = f"{len(numbers)} numbers in {where}"
        raise file_error(path, got, "9, or 3 of a rotation vector", "export the file again")
    return numbers.reshape(3, 3)


def _lens(fields: ChainMap[str, Any], path: Path, where: str) -> torch.Tensor | None:
    """Normalised intrinsics (3, 3); None where the file has none."""
    sizes = {
        size: next((fields[key] for key in keys if key in fields), None)
        for size, keys in _SIZE_KEYS.items()
    }
    number: NumberReader = number_reader(fields.new_child(sizes), path, where)
    for key in _MATRIX_KEYS:
        if key in fields:
            return lens_from_matrix(fields[key], number, path, where)
    fx, width, height = number("fx"), number("width"), number("height")
    if fx is None:
        return None
    if width is None or height is None:
        raise file_error(
            path,
            f"fx in pixels for {where} without the picture's size",
            "width and height",
            "add them to the file",
        )
    size = {"width_px": width, "height_px": height}
    return pixel_lens(fx, number("fy"), number("cx"), number("cy"), **size, path=path, where=where)
