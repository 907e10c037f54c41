"""A camera path in three planes: from above, from the side and from the front.

Axes are world axes: +X right, +Y down, +Z forward.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..cameras.trajectory import CameraTrajectory
from .canvas import BACKGROUND, FAINT_TEXT, GRID, PANEL, SOURCE, TEXT, Canvas, Colour, blend

START: Colour = (0, 200, 140)
END: Colour = (255, 110, 90)
_MAX_FRUSTA = 7
_MARGIN_PX = 34
_SCALE_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Plane:
    """Two world axes drawn to the right and upwards: (axis, sign) each."""

    name: str
    right: tuple[int, float]
    up: tuple[int, float]


PLANES = (
    Plane("top: right X, up Z", (0, 1.0), (2, 1.0)),
    Plane("side: right Z, up -Y", (2, 1.0), (1, -1.0)),
    Plane("front: right X, up -Y", (0, 1.0), (1, -1.0)),
)


def draw_plane(
    plane: Plane, path: CameraTrajectory, source: CameraTrajectory | None = None, side_px: int = 320
) -> torch.Tensor:
    """The path in one plane, (side, side, 3).

    It shows the views of up to seven frames (green first, red last) and the source's first view in
    grey.
    """
    canvas = Canvas(side_px, side_px, PANEL)
    centre, extent, reach = _world_window(path, source)
    # Pixels per pose unit; all planes share it, so that they can be compared.
    scale = (side_px - 2 * _MARGIN_PX) / extent

    def place(point: torch.Tensor) -> tuple[float, float]:
        right = plane.right[1] * float(point[plane.right[0]] - centre[plane.right[0]])
        up = plane.up[1] * float(point[plane.up[0]] - centre[plane.up[0]])
        return side_px / 2 + right * scale, side_px / 2 - up * scale

    # A grid for the eye; the bar below gives the scale.
    for position in (0.25, 0.5, 0.75):
        canvas.line([(side_px * position, 0), (side_px * position, side_px)], GRID)
        canvas.line([(0, side_px * position), (side_px, side_px * position)], GRID)
    if source is not None:
        _draw_frustum(canvas, place, source, 0, reach, SOURCE)
    for frame_idx in _shown_frames(path.num_frames):
        colour = blend(START, END, frame_idx / max(path.num_frames - 1, 1))
        _draw_frustum(canvas, place, path, frame_idx, reach, colour)
    centres = [place(point) for point in path.c2w[:, :3, 3]]
    canvas.line([centres[0], *centres], TEXT, width=2)
    canvas.dot(centres[0], 4, START)
    canvas.dot(centres[-1], 3, END)
    _draw_scale(canvas, side_px, scale)
    # A strip for the title, over any lines that reach so far up.
    canvas.box(0, 0, side_px, 22, BACKGROUND)
    canvas.text((8, 3), plane.name, TEXT)
    return canvas.picture()


def _world_window(
    path: CameraTrajectory, source: CameraTrajectory | None
) -> tuple[torch.Tensor, float, float]:
    """Centre (3,) and edge of the cube to show, and the depth of the drawn views, in pose units."""
    paths = [path] if source is None else [path, source]
    centres = torch.cat([shown.c2w[:, :3, 3] for shown in paths])
    # A camera that only rotates has no spread; its views then reach one pose unit.
    spread = float((centres.amax(0) - centres.amin(0)).max())
    reach = 0.35 * spread if spread > 1e-6 else 1.0
    # The corners of the views must fit into the picture too.
    tips = [_corners(path, idx, reach) for idx in _shown_frames(path.num_frames)]
    if source is not None:
        tips.append(_corners(source, 0, reach))
    points = torch.cat([centres, *tips])
    low, high = points.amin(0), points.amax(0)
    return (low + high) / 2, float((high - low).max()), reach


def _shown_frames(num_frames: int) -> list[int]:
    count = min(num_frames, _MAX_FRUSTA)
    return sorted({round(i * (num_frames - 1) / max(count - 1, 1)) for i in range(count)})


def _corners(path: CameraTrajectory, frame_idx: int, reach: float) -> torch.Tensor:
    """World points (4, 3) at depth `reach` behind the image's corners.

    They go clockwise from the upper left.
    """
    image = torch.tensor([[0.0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], dtype=torch.float64)
    camera = image @ torch.linalg.inv(path.intrinsics[frame_idx]).T * reach
    return camera @ path.c2w[frame_idx, :3, :3].T + path.c2w[frame_idx, :3, 3]


def _draw_frustum(
    canvas: Canvas,
    place: Callable[[torch.Tensor], tuple[float, float]],
    path: CameraTrajectory,
    frame_idx: int,
    reach: float,
    colour: Colour,
) -> None:
    eye = place(path.c2w[frame_idx, :3, 3])
    corners = [place(corner) for corner in _corners(path, frame_idx, reach)]
    for corner in corners:
        canvas.line([eye, corner], colour)
    canvas.line([*corners, corners[0]], colour, width=1.5)
    # The upper edge is doubled, so that a roll shows.
    canvas.line(corners[:2], colour, width=3.5)


def _draw_scale(canvas: Canvas, side_px: int, scale: float) -> None:
    """A bar of a round number of pose units, about a quarter of the picture wide."""
    wanted = side_px / 4 / scale
    # The largest round length of 1, 2 or 5 times a power of ten that fits.
    power = 10.0 ** torch.tensor(wanted).log10().floor().item()
    length = max(
        (step * power for step in _SCALE_STEPS if step * power <= wanted * 1.01), default=power
    )
    y = side_px - 12
    canvas.line([(12, y), (12 + length * scale, y)], FAINT_TEXT, width=2)
    canvas.text((12, y - 18), f"{length:g} pose units", FAINT_TEXT, 11)
