"""Camera files of others to our convention and back: ReCamMaster's camera_extrinsics.json,
nerfstudio/Blender transforms.json.

ReCamMaster writes Unreal's left-handed axes (X forward, Y right, Z up, centimetres), one matrix per
frame and camera, transposed. Its own loader permutes columns [1, 2, 0, 3], flips the second and
divides translations by 100. That turns the camera's axes but not the world's, so its absolute
matrices have determinant -1 and only relative ones +1. We turn the world's axes as well: the
relative poses stay the same, every matrix is a rotation, nothing is re-orthonormalised.

transforms.json holds right-handed OpenGL camera-to-world matrices (+X right, +Y up, +Z back) of any
world.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .trajectory import CameraTrajectory, default_intrinsics, intrinsics_matrix

# Columns are our camera axes (right, down, forward) in Unreal's axes; its transpose maps Unreal's
# world to ours.
_UNREAL_FROM_OPENCV = (
    (0.0, 0.0, 1.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
    (0.0, -1.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
)
_CENTIMETRES_PER_UNIT = 100.0
# Turns OpenGL camera axes into OpenCV ones, and back.
_OPENGL_FLIP = (1.0, -1.0, -1.0, 1.0)
# Files round to about six digits; a scale left on a camera is far larger.
_ROTATION_TOLERANCE = 1e-3
_FRAME_KEY = re.compile(r"frame(\d+)")
_PINHOLE_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE")


def load_trajectory(path: str | Path, *, camera: str = "cam01") -> CameraTrajectory:
    """The path in a camera file, of whichever known format its content has.

    camera: which path of a ReCamMaster file; a transforms.json holds one and ignores it.

    Raises: ValueError naming the file, what was found, what was wanted and the remedy.
    FileNotFoundError.
    """
    path = Path(path)
    content = _read_json(path)
    if isinstance(content.get("frames"), list):
        return _from_transforms(content, path)
    if any(_FRAME_KEY.fullmatch(key) for key in content):
        return _from_recammaster(content, path, camera)
    found = ", ".join(list(content)[:5]) or "nothing"
    wanted = "frame0, frame1, ... (ReCamMaster) or a list 'frames' (transforms.json)"
    raise _file_error(
        path, f"top-level keys {found}", wanted, "export the path in one of the two formats"
    )


def recammaster_cameras(path: str | Path) -> tuple[str, ...]:
    """Names of the paths in a ReCamMaster file, in its order; empty for any other camera file."""
    first = _read_json(Path(path)).get("frame0")
    return tuple(first) if isinstance(first, dict) else ()


def save_recammaster(trajectories: dict[str, CameraTrajectory], path: str | Path) -> None:
    """Write paths of equal length, by camera name, as a ReCamMaster camera_extrinsics.json; lenses
    are not part of it.

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
    content = {
        f"frame{frame_idx}": {
            name: _matrix_text(rows[frame_idx]) for name, rows in matrices.items()
        }
        for frame_idx in range(num_frames)
    }
    Path(path).write_text(json.dumps(content, indent=4), encoding="utf-8")


def save_transforms(
    trajectory: CameraTrajectory, path: str | Path, *, height: int, width: int
) -> None:
    """Write a path as transforms.json for images of `height` x `width` pixels, with each frame's
    own lens.
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


def _from_recammaster(content: dict[str, Any], path: Path, camera: str) -> CameraTrajectory:
    numbers = sorted(int(match[1]) for match in map(_FRAME_KEY.fullmatch, content) if match)
    missing = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    if missing:
        got = f"no frame{missing[0]} before frame{numbers[-1]}"
        raise _file_error(path, got, "every frame from frame0 on", "restore the missing frames")
    unreal = torch.stack(
        [_recammaster_matrix(content, path, frame_idx, camera) for frame_idx in numbers]
    )
    unreal[:, :3, 3] /= _CENTIMETRES_PER_UNIT
    turn = torch.tensor(_UNREAL_FROM_OPENCV, dtype=torch.float64)
    return CameraTrajectory(turn.T @ unreal @ turn, default_intrinsics(len(numbers)))


def _recammaster_matrix(
    content: dict[str, Any], path: Path, frame_idx: int, camera: str
) -> torch.Tensor:
    """Camera-to-world (4, 4) float64 in Unreal's axes and centimetres."""
    frame = content[f"frame{frame_idx}"]
    if not isinstance(frame, dict) or camera not in frame:
        got = f"in frame{frame_idx} " + (
            f"cameras {', '.join(frame)}" if isinstance(frame, dict) else repr(frame)[:60]
        )
        raise _file_error(path, got, f"camera {camera!r}", "choose a camera of the file")
    where = f"frame{frame_idx}, {camera}"
    text = frame[camera]
    if not isinstance(text, str):
        raise _file_error(
            path,
            f"{where} = {text!r}"[:80],
            "a text '[..] [..] [..] [..]'",
            "export the file again",
        )
    words = text.replace("[", " ").replace("]", " ").split()
    matrix = _numbers(words, path, where).T.contiguous()
    _require_pose(matrix, path, where)
    return matrix


def _unreal_from_c2w(c2w: torch.Tensor) -> torch.Tensor:
    """Rows as ReCamMaster stores them (F, 4, 4): transposed, Unreal's axes, centimetres."""
    turn = torch.tensor(_UNREAL_FROM_OPENCV, dtype=torch.float64)
    unreal = turn @ c2w @ turn.T
    unreal[:, :3, 3] *= _CENTIMETRES_PER_UNIT
    return unreal.transpose(1, 2)


def _matrix_text(rows: list[list[float]]) -> str:
    # 17 digits give every float64 back bit for bit.
    return "".join("[" + " ".join(f"{number:.17g}" for number in row) + "] " for row in rows)


def _from_transforms(content: dict[str, Any], path: Path) -> CameraTrajectory:
    """Our choice: frames in the order of the numbers in their file names, since tools list them in
    any order.

    Lens distortion is not part of our cameras and is left out.
    """
    frames = content["frames"]
    if not frames or not all(isinstance(frame, dict) for frame in frames):
        got = "no frames" if not frames else "entries in 'frames' that are no objects"
        raise _file_error(
            path, got, "one object with a transform_matrix per frame", "export the path again"
        )
    model = content.get("camera_model", "OPENCV")
    if model not in _PINHOLE_MODELS:
        wanted = f"one of {', '.join(_PINHOLE_MODELS)}"
        raise _file_error(path, f"camera_model {model}", wanted, "undistort the video first")
    if all(isinstance(frame.get("file_path"), str) for frame in frames):
        frames = sorted(frames, key=lambda frame: _natural_order(frame["file_path"]))
    flip = torch.tensor(_OPENGL_FLIP, dtype=torch.float64)
    poses, lenses = [], []
    for frame_idx, frame in enumerate(frames):
        where = f"frame {frame_idx} ({frame.get('file_path', 'unnamed')})"
        rows = frame.get("transform_matrix")
        words = [number for row in rows for number in row] if _is_table(rows) else [rows]
        matrix = _numbers(words, path, where)
        _require_pose(matrix, path, where)
        poses.append(matrix * flip)
        lenses.append(_transforms_lens({**content, **frame}, path, where))
    return CameraTrajectory(torch.stack(poses), torch.stack(lenses))


def _transforms_lens(fields: dict[str, Any], path: Path, where: str) -> torch.Tensor:
    """Normalised intrinsics (3, 3); the frame's own fields win over the file's."""
    number = _number_reader(fields, path, where)
    width, height = number("w"), number("h")
    fx = _focal_length(number, "fl_x", "camera_angle_x", width)
    fy = _focal_length(number, "fl_y", "camera_angle_y", height)
    if fx is None or width is None or height is None:
        got = f"fields {', '.join(name for name in fields if name != 'frames')} for {where}"
        raise _file_error(
            path, got, "w and h in pixels, and fl_x or camera_angle_x", "add them to the file"
        )
    cx, cy = number("cx"), number("cy")
    return intrinsics_matrix(
        fx / width,
        (fx if fy is None else fy) / height,  # square pixels where only one focal length is given
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
            raise _file_error(
                path, f"{name} = {value!r} for {where}", wanted, "correct it in the file"
            )
        return float(value)

    return number


def _focal_length(
    number: Callable[[str], float | None], focal: str, angle: str, size: float | None
) -> float | None:
    """Focal length in pixels, from itself or from the angle of view in radians."""
    length, angle_rad = number(focal), number(angle)
    if length is not None or angle_rad is None or size is None:
        return length
    return size / (2 * math.tan(angle_rad / 2))


def _numbers(words: list[Any], path: Path, where: str) -> torch.Tensor:
    """A finite matrix (4, 4) float64 of 16 numbers given row by row, as numbers or text."""
    try:
        numbers = [float(word) for word in words]
    except (TypeError, ValueError) as error:
        raise _file_error(
            path, f"{where} with {error}", "16 numbers", "export the file again"
        ) from error
    if len(numbers) != 16:
        raise _file_error(
            path, f"{len(numbers)} numbers in {where}", "16, a 4x4 matrix", "export the file again"
        )
    if not all(map(math.isfinite, numbers)):
        raise _file_error(
            path,
            f"NaN or infinity in {where}",
            "finite numbers",
            "repair or track that frame again",
        )
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)


def _require_pose(c2w: torch.Tensor, path: Path, where: str) -> None:
    """Raise ValueError unless c2w (4, 4) is a rotation, rounded to a few digits at worst, and a
    translation.
    """
    bottom = c2w[3].tolist()
    if bottom != [0.0, 0.0, 0.0, 1.0]:
        got = f"a last row {bottom} of the pose in {where}"
        raise _file_error(
            path, got, "[0, 0, 0, 1]", "transpose the matrices if the translation stands there"
        )
    rotation = c2w[:3, :3]
    error = float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max())
    if error > _ROTATION_TOLERANCE or torch.linalg.det(rotation) < 0:
        got = f"a scaled, sheared or mirrored pose in {where}"
        raise _file_error(
            path,
            got,
            "a rotation and a translation",
            "remove the scale of the camera and export again",
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _file_error(
            path, f"no JSON ({error})", "a JSON camera file", "export the path again"
        ) from error
    if not isinstance(content, dict):
        raise _file_error(
            path, f"a JSON {type(content).__name__}", "a JSON object", "export the path again"
        )
    return content


def _file_error(path: Path, got: str, wanted: str, remedy: str) -> ValueError:
    return ValueError(f"camera file {path} got {got}, wanted {wanted}; {remedy}")


def _is_table(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, list) for row in rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that puts r_2 before r_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
