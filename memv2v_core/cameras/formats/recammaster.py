"""ReCamMaster's and MultiCamVideo's camera_extrinsics.json to our convention and back.

The file holds one transposed matrix per frame and camera, in Unreal's left-handed axes: X forward,
Y right, Z up, centimetres. ReCamMaster's loader permutes columns [1, 2, 0, 3], flips the second and
divides translations by 100. The loader turns the camera's axes but not the world's axes, so its
absolute matrices have determinant -1 and only relative matrices have +1. We turn the world's axes
too: relative poses stay the same, every matrix is a rotation, and nothing is re-orthonormalised.

The file holds no lens. MultiCamVideo names it in the folder, as in
f18_aperture10/scene1/cameras/camera_extrinsics.json: 18, 24, 35 or 50 mm on a sensor of 23.76 mm.
"""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from ..trajectory import (
    DEFAULT_ASPECT,
    SENSOR_WIDTH_MM,
    CameraTrajectory,
)
from .reading.content import file_error, require_count
from .reading.found import kind_of, listed
from .reading.lenses import lens_matrix, lens_of_settings
from .reading.poses import pose_matrix, require_pose
from .reading.results import ImportedCameras, ImportSettings, shown_setting

# Columns are our camera axes (right, down, forward) in Unreal's axes. The transpose maps Unreal's
# world to ours.
_UNREAL_FROM_OPENCV = (
    (0.0, 0.0, 1.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
_CENTIMETRES_PER_UNIT = 100.0
_FRAME_KEY = re.compile(r"frame([0-9]+)")
# The names of MultiCamVideo's paths; other names are not repeated.
_KNOWN_CAMERA = re.compile(r"cam[0-9]{2}")
_LENS_FOLDER = re.compile(r"(?<![A-Za-z0-9])f(\d+(?:\.\d+)?)_aperture")


def is_recammaster(content: Any) -> bool:
    """Whether a JSON file's content has ReCamMaster's keys."""
    return isinstance(content, dict) and any(_FRAME_KEY.fullmatch(key) for key in content)


def recammaster_cameras(content: Any) -> tuple[str, ...]:
    """Names of the paths in a ReCamMaster file, in file order; empty for any other content."""
    first = content.get("frame0") if isinstance(content, dict) else None
    return tuple(first) if isinstance(first, dict) else ()


def read_recammaster(
    content: dict[str, Any], path: Path, settings: ImportSettings
) -> ImportedCameras:
    """The path named `settings.camera`.

    Raises: ValueError naming the file, the frame, what was found and the remedy.
    """
    num_frames = _num_frames(content, path)
    unreal = torch.stack(
        [
            _matrix_of_frame(content, path, frame_idx, settings.camera)
            for frame_idx in range(num_frames)
        ]
    )
    # Centimetres become pose units, then both the world and the camera axes turn.
    unreal[:, :3, 3] /= _CENTIMETRES_PER_UNIT
    turn = torch.tensor(_UNREAL_FROM_OPENCV, dtype=torch.float64)
    lens, note = _lens(path, settings)
    return ImportedCameras(
        CameraTrajectory(turn.T @ unreal @ turn, lens.repeat(num_frames, 1, 1)), (note,)
    )


def known_cameras(names: Collection[str]) -> str:
    """The names of MultiCamVideo among the paths of a file, and how many others there are."""
    known = sorted(name for name in names if _KNOWN_CAMERA.fullmatch(name))
    others = f"{len(names) - len(known)} of other names"
    return listed(known) if len(known) == len(names) > 0 else ", ".join((*known[:10], others))


def _num_frames(content: dict[str, Any], path: Path) -> int:
    """How many frames the file has.

    Raises: ValueError for holes, which would shift every later camera to a wrong frame.
    """
    wanted, remedy = "every frame from frame0 on", "restore the missing frames"
    num_frames = sum(_FRAME_KEY.fullmatch(key) is not None for key in content)
    require_count(num_frames, path)
    for frame_idx in range(num_frames):
        if f"frame{frame_idx}" not in content:
            got = f"no frame{frame_idx} among its {num_frames} frames"
            raise file_error(path, got, wanted, remedy)
    return num_frames


def _lens(path: Path, settings: ImportSettings) -> tuple[torch.Tensor, str]:
    """Normalised intrinsics (3, 3), and the sentence that says where they come from."""
    named = _LENS_FOLDER.findall(path.absolute().as_posix())
    if not named:
        return lens_of_settings(settings)
    # Nearer folders are more to the point.
    focal_mm = float(named[-1])
    aspect = settings.aspect or DEFAULT_ASPECT
    fx = focal_mm / SENSOR_WIDTH_MM
    note = (
        f"The lens is the folder's: {focal_mm:g} mm on {SENSOR_WIDTH_MM} mm, for a picture of "
        f"width / height {aspect:.2f}."
    )
    return lens_matrix(fx, fx * aspect, path, "the folder's name"), note


def _matrix_of_frame(
    content: dict[str, Any], path: Path, frame_idx: int, camera: str
) -> torch.Tensor:
    """Camera-to-world (4, 4) float64 in Unreal's axes and centimetres."""
    frame = content[f"frame{frame_idx}"]
    if not isinstance(frame, dict) or camera not in frame:
        what = f"cameras {known_cameras(frame)}" if isinstance(frame, dict) else kind_of(frame)
        wanted = f"camera {shown_setting(camera)}"
        raise file_error(path, f"in frame{frame_idx} {what}", wanted, "choose a camera of the file")
    where = f"frame{frame_idx}, {shown_setting(camera)}"
    text = frame[camera]
    if not isinstance(text, str):
        raise file_error(
            path,
            f"{where} = {kind_of(text)}",
            "a text '[..] [..] [..] [..]'",
            "export the file again",
        )
    # The text is "[a b c d] [..] [..] [..]", and its rows are columns of the pose.
    words = text.replace("[", " ").replace("]", " ").split(maxsplit=16)
    if len(words) != 16:
        got = f"{len(words)} numbers in {where}" if len(words) < 16 else f"over 16 in {where}"
        raise file_error(path, got, "16 numbers, a 4x4 matrix", "export the file again")
    matrix = pose_matrix(words, path, where).T.contiguous()
    require_pose(matrix, path, where)
    return matrix


def save_recammaster(trajectories: dict[str, CameraTrajectory], path: str | Path) -> None:
    """Write paths of equal length, by camera name, as a ReCamMaster camera_extrinsics.json.

    The format has no place for lenses.

    Raises: ValueError when the lengths differ.
    """
    lengths = {name: trajectory.num_frames for name, trajectory in trajectories.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"camera paths got lengths {lengths}, wanted one length for all; resample them to one "
            "length"
        )
    matrices = {
        name: _unreal_from_c2w(trajectory.c2w).tolist() for name, trajectory in trajectories.items()
    }
    num_frames = next(iter(lengths.values()))
    # One key per frame, and in it one matrix per camera, as ReCamMaster reads them.
    content = {
        f"frame{frame_idx}": {
            name: _matrix_text(rows[frame_idx]) for name, rows in matrices.items()
        }
        for frame_idx in range(num_frames)
    }
    Path(path).write_text(json.dumps(content, indent=4), encoding="utf-8")


def _unreal_from_c2w(c2w: torch.Tensor) -> torch.Tensor:
    """Rows as ReCamMaster stores them (F, 4, 4): transposed, Unreal's axes, centimetres."""
    turn = torch.tensor(_UNREAL_FROM_OPENCV, dtype=torch.float64)
    unreal = turn @ c2w @ turn.T
    unreal[:, :3, 3] *= _CENTIMETRES_PER_UNIT
    return unreal.transpose(1, 2)


def _matrix_text(rows: list[list[float]]) -> str:
    # 17 digits give every float64 back bit for bit.
    return "".join("[" + " ".join(f"{number:.17g}" for number in row) + "] " for row in rows)
