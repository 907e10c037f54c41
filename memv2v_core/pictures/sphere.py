"""Viewed directions as a picture: the sphere of VideoFOV on a latitude-longitude grid.

The centre of the picture is the direction of the reference camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..cameras.trajectory import CameraTrajectory
from ..retrieval.video_fov import VideoFovConfig, video_fov_mask
from .canvas import FAINT_TEXT, GRID, PANEL, Canvas, Colour

_FILL = 0.42
_LABELLED_FROM_PX = 400


@dataclass(frozen=True, eq=False)
class SphereView:
    """One path on the sphere: filled, or only outlined."""

    path: CameraTrajectory
    colour: Colour
    is_filled: bool = True


def draw_sphere(
    views: Sequence[SphereView],
    reference: CameraTrajectory,
    width_px: int = 480,
    config: VideoFovConfig | None = None,
) -> torch.Tensor:
    """The views of several paths on the sphere, (width / 2, width, 3) in [0, 1].

    The sphere lies around `reference`'s first camera. Where filled views overlap their colours add
    up, so directions that several paths saw are brighter.
    """
    height_px = width_px // 2
    picture = _ground(width_px, height_px)
    for view in views:
        mask = _mask(view.path, reference, height_px, width_px, config)
        colour = torch.tensor(view.colour) / 255
        # "Screen" mixing: light adds up and never exceeds 1.
        if view.is_filled:
            picture[mask] = 1 - (1 - picture[mask]) * (1 - _FILL * colour)
        # Outlines come after fills, so that they stay visible.
        picture[_outline(mask, thickness=1 if view.is_filled else 2)] = colour
    return picture


def _ground(width_px: int, height_px: int) -> torch.Tensor:
    """The empty sphere, with a line every 30 degrees.

    A wide picture also has degrees to the right and up.
    """
    canvas = Canvas(width_px, height_px, PANEL)
    for i in range(1, 12):
        canvas.line([(width_px * i / 12, 0), (width_px * i / 12, height_px)], GRID)
    for i in range(1, 6):
        canvas.line([(0, height_px * i / 6), (width_px, height_px * i / 6)], GRID)
    # Small spheres have no room for numbers.
    if width_px >= _LABELLED_FROM_PX:
        for i in range(1, 12):
            canvas.text((width_px * i / 12 + 3, height_px - 16), str(30 * i - 180), FAINT_TEXT, 10)
        for i in range(1, 6):
            canvas.text((3, height_px * i / 6 + 2), str(90 - 30 * i), FAINT_TEXT, 10)
    return canvas.picture()


def _mask(
    path: CameraTrajectory,
    reference: CameraTrajectory,
    height_px: int,
    width_px: int,
    config: VideoFovConfig | None,
) -> torch.Tensor:
    """The scored points (H, W) bool, by nearest neighbour.

    The picture therefore never shows more than was measured.
    """
    mask = video_fov_mask(path, reference, config)
    rows = torch.arange(height_px) * mask.shape[0] // height_px
    columns = torch.arange(width_px) * mask.shape[1] // width_px
    return mask[rows][:, columns]


def _outline(mask: torch.Tensor, thickness: int) -> torch.Tensor:
    """Points (H, W) inside the mask within `thickness` of its border.

    Longitudes wrap around.
    """
    inner = mask.clone()
    for _ in range(thickness):
        above, below = inner.roll(1, 0), inner.roll(-1, 0)
        # Latitudes do not wrap: the poles are no neighbours.
        above[0], below[-1] = inner[0], inner[-1]
        inner = inner & above & below & inner.roll(1, 1) & inner.roll(-1, 1)
    return mask & ~inner
