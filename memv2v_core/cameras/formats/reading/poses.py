"""Camera poses of foreign files: matrices, their axes, and what no camera can be."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .content import file_error, finite_numbers, flat
from .limits import MAX_DISTANCE

# Files round to about six digits. A scale that was left on a camera is far larger than this.
_ROTATION_TOLERANCE = 1e-3
# Turns OpenGL camera axes (+X right, +Y up, +Z back) into OpenCV ones, and back.
_OPENGL_FLIP = (1.0, -1.0, -1.0, 1.0)
_BOTTOM_ROW = [0.0, 0.0, 0.0, 1.0]


def read_pose(value: Any, path: Path, where: str) -> torch.Tensor:
    """A rotation with a translation (4, 4) float64 from 16 or 12 numbers, row by row.

    value: numbers or texts in nested lists of any depth. 12 numbers are the first three rows.

    Raises: ValueError for other counts, NaN, scaled, sheared and mirrored matrices.
    """
    matrix = pose_matrix(value, path, where)
    require_pose(matrix, path, where)
    return matrix


def pose_matrix(value: Any, path: Path, where: str) -> torch.Tensor:
    """A finite matrix (4, 4) float64 from 16 or 12 numbers, row by row."""
    numbers = finite_numbers(flat(value, path, where), path, where)
    if len(numbers) == 12:
        numbers = numbers + _BOTTOM_ROW
    if len(numbers) != 16:
        got = f"{len(numbers)} numbers in {where}"
        raise file_error(path, got, "16 or 12, a 4x4 or 3x4 matrix", "export the file again")
    return torch.tensor(numbers, dtype=torch.float64).reshape(4, 4)


def require_pose(matrix: torch.Tensor, path: Path, where: str) -> None:
    """Raise ValueError unless a matrix (4, 4) is a rotation and a translation.

    Rotations that a file rounds to a few digits pass.
    """
    bottom = matrix[3].tolist()
    if bottom != _BOTTOM_ROW:
        got = f"a last row [{', '.join(f'{number:g}' for number in bottom)}] of the pose in {where}"
        raise file_error(
            path, got, "[0, 0, 0, 1]", "transpose the matrices if the translation stands there"
        )
    # R^T R is the identity for rotations and mirrors; the determinant tells them apart.
    rotation = matrix[:3, :3]
    error = float((rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max())
    # Not "error > tolerance": products of huge numbers are NaN.
    if not error <= _ROTATION_TOLERANCE or torch.linalg.det(rotation) < 0:
        raise file_error(
            path,
            f"a scaled, sheared or mirrored pose in {where}",
            "a rotation and a translation",
            "remove the scale of the camera and export again",
        )
    require_place(matrix[:3, 3].tolist(), path, where)


def require_place(place: Sequence[float], path: Path, where: str) -> None:
    """Raise ValueError for a place so far away that its distances are no numbers any more."""
    furthest = max(map(abs, place))
    if furthest > MAX_DISTANCE:
        raise file_error(
            path,
            f"a place at {furthest:g} in {where}",
            f"at most {MAX_DISTANCE:g}",
            "repair or track that frame again",
        )


def opencv_from_opengl(c2w: torch.Tensor) -> torch.Tensor:
    """Camera-to-world (..., 4, 4) with OpenGL camera axes as OpenCV ones, or the other way round.

    Only the camera's axes turn. The world of the file stays, since any world will do.
    """
    return c2w * torch.tensor(_OPENGL_FLIP, dtype=torch.float64)


def pose_from_parts(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """(4, 4) float64 from a rotation (3, 3) and a translation (3,)."""
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix


def inverse_pose(matrix: torch.Tensor) -> torch.Tensor:
    """World-to-camera (4, 4) of camera-to-world, or the other way round."""
    rotation = matrix[:3, :3].T
    return pose_from_parts(rotation, -rotation @ matrix[:3, 3])
