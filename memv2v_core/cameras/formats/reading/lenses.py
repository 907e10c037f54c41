"""Lenses of foreign files: from pixels and angles, and where a file has none."""

import math
from pathlib import Path
from typing import Any

import torch

from ...trajectory import (
    DEFAULT_ASPECT,
    DEFAULT_FOV_DEG,
    intrinsics_matrix,
    lens_intrinsics,
)
from .content import NumberReader, file_error, finite_numbers, flat
from .limits import MAX_CENTRE, MAX_FOCAL, MIN_FOCAL
from .results import ImportSettings


def lens_matrix(
    fx: float, fy: float, path: Path, where: str, cx: float = 0.5, cy: float = 0.5
) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of focal lengths and a centre in picture sizes.

    Raises: ValueError for a lens that nothing can be seen through.
    """
    is_lens = all(MIN_FOCAL <= focal <= MAX_FOCAL for focal in (fx, fy))
    if not is_lens or not all(abs(centre) <= MAX_CENTRE for centre in (cx, cy)):
        raise file_error(
            path,
            f"a lens of fx {fx:g}, fy {fy:g}, cx {cx:g}, cy {cy:g} picture sizes for {where}",
            f"focal lengths of {MIN_FOCAL:g} to {MAX_FOCAL:g} and centres within {MAX_CENTRE:g}",
            "correct the lens and the picture's size in the file",
        )
    return intrinsics_matrix(fx, fy, cx, cy)


def pixel_lens(
    fx_px: float,
    fy_px: float | None,
    cx_px: float | None,
    cy_px: float | None,
    *,
    width_px: float,
    height_px: float,
    path: Path,
    where: str,
) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of a lens in pixels.

    Pixels are square where fy is missing; the centre is the picture's where cx or cy is missing.
    """
    return lens_matrix(
        fx_px / width_px,
        (fx_px if fy_px is None else fy_px) / height_px,
        path,
        where,
        0.5 if cx_px is None else cx_px / width_px,
        0.5 if cy_px is None else cy_px / height_px,
    )


def lens_from_matrix(value: Any, number: NumberReader, path: Path, where: str) -> torch.Tensor:
    """Normalised intrinsics (3, 3) of a matrix of nine numbers in pixels.

    number: reads the picture's size, `width` and `height` in pixels.

    Raises: ValueError for other counts, and where the size is missing.
    """
    what = f"the intrinsics of {where}"
    numbers = finite_numbers(flat(value, path, what), path, what)
    if len(numbers) != 9 or min(numbers[0], numbers[4]) <= 0:
        raise file_error(
            path,
            f"intrinsics of {len(numbers)} numbers, or without a focal length, for {where}",
            "nine numbers, fx and fy above 0",
            "write K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels",
        )
    fx, _, cx, _, fy, cy = numbers[:6]
    width, height = number("width"), number("height")
    if width is None or height is None:
        raise file_error(
            path,
            f"intrinsics in pixels for {where} without the picture's size",
            "width and height",
            "add them to the file",
        )
    size = {"width_px": width, "height_px": height}
    return pixel_lens(fx, fy, cx, cy, **size, path=path, where=where)


def focal_of_angle(angle_rad: float, size_px: float) -> float:
    """Focal length in pixels: a pinhole sees half of the size under half of the angle."""
    return size_px / (2 * math.tan(angle_rad / 2))


def lens_of_settings(settings: ImportSettings) -> tuple[torch.Tensor, str]:
    """Normalised intrinsics (3, 3) for a file without a lens, and the sentence that says so."""
    if settings.lens is not None:
        return settings.lens, "The file has no lens: the lens of source_camera is used."
    fov_deg = settings.fov_deg or DEFAULT_FOV_DEG
    aspect = settings.aspect or DEFAULT_ASPECT
    lens = "fov_deg" if settings.fov_deg else "the default lens, 24 mm on 23.76 mm"
    picture = "the clip's" if settings.aspect else "of 832x480, since no clip is connected"
    note = (
        f"The file has no lens: {fov_deg:.1f} degrees across ({lens}) are assumed, for a picture "
        f"of width / height {aspect:.2f} ({picture})."
    )
    return lens_intrinsics(fov_deg, aspect), note


def distortion_note(values: list[float]) -> tuple[str, ...]:
    """One sentence where a file's lens bends rays, which our lens cannot."""
    if not any(values):
        return ()
    largest = max(values, key=abs)
    return (
        f"The file's lens distortion (largest coefficient {largest:g}) is not used; undistort the "
        "video for exact cameras.",
    )
