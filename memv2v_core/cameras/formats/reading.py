"""Helpers of all camera file readers: JSON, a pose of 16 numbers, and errors that name the file."""

import json
import math
from pathlib import Path
from typing import Any

import torch

# Files round to about six digits. A scale that was left on a camera is far larger than this.
_ROTATION_TOLERANCE = 1e-3


def read_json(path: Path) -> dict[str, Any]:
    try:
        # utf-8-sig also reads files that start with a byte order mark.
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise file_error(
            path, f"no JSON ({error})", "a JSON camera file", "export the path again"
        ) from error
    if not isinstance(content, dict):
        raise file_error(
            path, f"a JSON {type(content).__name__}", "a JSON object", "export the path again"
        )
    return content


def file_error(path: Path, got: str, wanted: str, remedy: str) -> ValueError:
    return ValueError(f"camera file {path} got {got}, wanted {wanted}; {remedy}")


def pose_matrix(words: list[Any], path: Path, where: str) -> torch.Tensor:
    """A finite matrix (4, 4) float64 from 16 numbers or texts, row by row."""
    try:
        numbers = [float(word) for word in words]
    except (TypeError, ValueError) as error:
        raise file_error(
            path, f"{where} with {error}", "16 numbers", "export the file again"
        ) from error
    if len(numbers) != 16:
        raise file_error(
            path, f"{len(numbers)} numbers in {where}", "16, a 4x4 matrix", "export the file again"
        )
    # Python reads NaN and Infinity in JSON, although JSON has neither.
    if not all(map(math.isfinite, numbers)):
        raise file_error(
            path,
            f"NaN or infinity in {where}",
            "finite numbers",
            "repair or track that frame again",
        )
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)


def require_pose(c2w: torch.Tensor, path: Path, where: str) -> None:
    """Raise ValueError unless c2w (4, 4) is a rotation and a translation.

    Rotations that a file rounds to a few digits pass.
    """
    bottom = c2w[3].tolist()
    if bottom != [0.0, 0.0, 0.0, 1.0]:
        got = f"a last row {bottom} of the pose in {where}"
        raise file_error(
            path, got, "[0, 0, 0, 1]", "transpose the matrices if the translation stands there"
        )
    # R^T R is the identity for rotations and mirrors; the determinant tells them apart.
    rotation = c2w[:3, :3]
    error = float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max())
    if error > _ROTATION_TOLERANCE or torch.linalg.det(rotation) < 0:
        got = f"a scaled, sheared or mirrored pose in {where}"
        raise file_error(
            path,
            got,
            "a rotation and a translation",
            "remove the scale of the camera and export again",
        )
