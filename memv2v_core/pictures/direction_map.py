"""Views as outlines on the map of directions: degrees to the right and up, for a page that draws.

The map's centre looks along +Z of the reference; -180 and 180 degrees are both behind. It is the
panorama of `sphere`, in numbers in place of pixels.
"""

import torch

from ..cameras.extent import without_jumps
from ..cameras.projection import project_directions
from ..cameras.trajectory import CameraTrajectory

Point = tuple[float, float]
# Straight edges of a picture are curves on the map.
_POINTS_AN_EDGE = 8
# A page draws to a tenth of a pixel.
_DIGITS = 2


def directions_deg(vectors: torch.Tensor) -> torch.Tensor:
    """Degrees to the right in [-180, 180] and up in [-90, 90], (..., 2), of directions (..., 3)."""
    x, y, z = vectors.unbind(-1)
    right = torch.rad2deg(torch.atan2(x, z))
    up = torch.rad2deg(torch.atan2(-y, torch.hypot(x, z)))
    return torch.stack([right, up], dim=-1)


def view_outlines(path: CameraTrajectory) -> list[list[Point]]:
    """The edge of each frame's picture on the map, one closed line a frame.

    Degrees to the right run on past 180, so that no line jumps across the map. Where a pole lies in
    the picture the line goes on along the map's upper or lower border. The place of the camera
    plays no part: directions are infinitely far away.
    """
    edge = _picture_edge()  # (N, 3)
    rays = edge @ torch.linalg.inv(path.intrinsics).mT @ path.c2w[:, :3, :3].mT  # (F, N, 3)
    degrees = directions_deg(rays)
    lines = torch.stack([without_jumps(degrees[..., 0], 360), degrees[..., 1]], dim=-1)
    return [
        _closed(line, *poles)
        for line, poles in zip(_rounded(lines), _poles_seen(path).tolist(), strict=True)
    ]


def mask_outlines(mask: torch.Tensor) -> list[list[Point]]:
    """The borders of the true points of a mask (rows, columns) over the whole sphere, closed lines.

    Holes are lines of their own, so a page fills them by the even-odd rule. Corners are cut through
    the middles of the points' edges: the line lies within half a point of the border.
    """
    rows, columns = mask.shape
    following = _border_steps(mask)
    lines = []
    while following:
        start = next(iter(following))
        corners, corner = [start], following[start].pop()
        while corner != start:
            corners.append(corner)
            corner = following[corner].pop()
        following = {key: ends for key, ends in following.items() if ends}
        lines.append(_middles(corners, rows, columns))
    return lines


def _picture_edge() -> torch.Tensor:
    """Homogeneous image points (N, 3) around the picture, clockwise from the upper left."""
    share = torch.arange(_POINTS_AN_EDGE, dtype=torch.float64) / _POINTS_AN_EDGE
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    x = torch.cat([share, one, 1 - share, zero])
    y = torch.cat([zero, share, one, 1 - share])
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _poles_seen(path: CameraTrajectory) -> torch.Tensor:
    """Whether each frame sees the upper and the lower pole, (F, 2) bool."""
    poles = torch.tensor([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    at, depth = project_directions(poles.expand(path.num_frames, 2, 3), path.c2w, path.intrinsics)
    return (at >= 0).all(-1) & (at < 1).all(-1) & (depth > 0)


def _closed(line: list[Point], sees_zenith: bool, sees_nadir: bool) -> list[Point]:
    first, last = line[0], line[-1]
    around = 360 * round((last[0] - first[0]) / 360)
    # The line goes once around a pole: it is closed along the map's border.
    if around and (sees_zenith or sees_nadir):
        border = 90.0 if sees_zenith else -90.0
        end = first[0] + around
        return [*line, (end, first[1]), (end, border), (first[0], border)]
    return line


def _rounded(degrees: torch.Tensor) -> list[list[Point]]:
    """Lines (F, N, 2) as numbers."""
    rows = torch.round(degrees, decimals=_DIGITS).tolist()
    return [[(x, y) for x, y in row] for row in rows]


def _border_steps(mask: torch.Tensor) -> dict[Point, list[Point]]:
    """From each corner of the border to the next ones, with the true points to the right.

    Corners are (row, column) between points. The map's left and right ends are borders too.
    """
    padded = torch.nn.functional.pad(mask, (1, 1, 1, 1))
    inner = padded[1:-1, 1:-1]
    # Where the neighbour is false, from which corner of the point to which.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    )
    following: dict[Point, list[Point]] = {}
    for neighbour, start, end in sides:
        for row, column in (inner & ~neighbour).nonzero().tolist():
            before = (row + start[0], column + start[1])
            following.setdefault(before, []).append((row + end[0], column + end[1]))
    return following


def _middles(corners: list[Point], rows: int, columns: int) -> list[Point]:
    """The middles of the steps of a closed line in degrees, without those on a straight line."""
    steps = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    middles = [((r0 + r1) / 2, (c0 + c1) / 2) for (r0, c0), (r1, c1) in steps]
    turns = [
        (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1])
        for before, here, after in zip(
            [middles[-1], *middles[:-1]], middles, [*middles[1:], middles[0]], strict=True
        )
    ]
    kept = [middle for middle, turn in zip(middles, turns, strict=True) if turn]
    return [
        (round(360 * column / columns - 180, _DIGITS), round(90 - 180 * row / rows, _DIGITS))
        for row, column in kept
    ]


def turned_deg(path: CameraTrajectory) -> list[Point]:
    """Where each frame looks, degrees to the right and up, without jumps across the map."""
    degrees = directions_deg(path.c2w[:, :3, 2])[None]  # (1, F, 2)
    line = torch.stack([without_jumps(degrees[..., 0], 360), degrees[..., 1]], dim=-1)
    return _rounded(line)[0]
