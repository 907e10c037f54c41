"""Which points of the sphere a camera path sees, whole rows of points at once.

P paths, F frames, M sphere points, N pairs of a frame and a row that it may see, W words of 64
columns.

A point is in a picture when it lies inside four planes through the camera's centre: x >= 0,
x < depth, y >= 0, y < depth for image coordinates times depth. Together they imply depth > 0. A row
of points is a circle, so each plane keeps one arc of it, whose ends follow from an arc cosine. The
points of a row that a frame sees are the points in all four arcs.

Rounding decides nothing here: points so near to an end of an arc that rounding could move them, and
rows that a plane merely touches, are projected one by one. The result equals a test of every point
in every frame, bit for bit, and does not depend on which other paths are tested beside it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..cameras.trajectory import CameraTrajectory
from .sphere_grid import Bits, Bools, Floats, Ints, SphereGrid

# Frames, pairs, and points that are projected one by one, whose numbers lie in memory at once. The
# numbers of pairs stay in a core's cache: more at once takes twice as long.
_FRAMES_AT_ONCE, _PAIRS_AT_ONCE, _POINTS_AT_ONCE = 2048, 2**12, 2**15
# Radians: points this near to an end of an arc are projected.
_END = 1e-5
# Cosines this near to 1 have an uncertain arc: their rows are projected.
_TOUCH = 1e-5
# An error of a cosine up to this moves no end by more than half of _END, as the arc cosine's
# derivative is at most 1 / sqrt(2 * _TOUCH) outside of _TOUCH.
_MOST_COSINE_ERROR = _END * math.sqrt(2 * _TOUCH) / 2
# Rounding of a distance to a plane, in units of the numbers that it is made of; about 20 times the
# unit of float64, for the few operations on the way.
_ROUNDING = 4e-15
# Radians around the rows that a plane reaches.
_ROW_MARGIN = 1e-3
# The share of a normal that lies in the plane of a row, at least; less would divide by zero.
_LEAST_LEVEL = 1e-12


class _Cameras(NamedTuple):
    """Cameras in the sphere's space. c2w: (F, 4, 4). intrinsics: (F, 3, 3)."""

    c2w: Floats
    intrinsics: Floats


class _Planes(NamedTuple):
    """The four planes of every frame, (4, F) each, with unit normals that point inside.

    A point of a row is inside where cos(phi - centre) is at least the row's cosine, which is
    along * inverse_sine + up * cotangent.

    centre: of the arcs, in columns. sure_to, sure_from: (F,), a cosine whose size lies between them
    does not tell the ends of its arc well enough. A larger one keeps all of the row or nothing.
    first_row, stop_row: (F,), the rows that all four planes reach. whole_to, whole_from: (F,), rows
    above and below these lie wholly inside.
    """

    along: Floats
    up: Floats
    centre: Floats
    sure_to: Floats
    sure_from: Floats
    first_row: Ints
    stop_row: Ints
    whole_to: Ints
    whole_from: Ints


class _Arcs(NamedTuple):
    """What a frame surely sees of a row, and what is to be projected.

    bits: (N, W), the points inside. is_unsure: (N,), whole rows. doubt_idx, doubt_column: pairs and
    columns of single points.
    """

    bits: Bits
    is_unsure: Bools
    doubt_idx: Ints
    doubt_column: Ints


def blocks(paths: Sequence[CameraTrajectory]) -> Iterator[range]:
    """The indices of all paths in their order, in pieces of bounded memory for `footprints`."""
    start, longest = 0, 0
    for idx, path in enumerate(paths):
        longest = max(longest, path.num_frames)
        if idx > start and (idx + 1 - start) * longest > _FRAMES_AT_ONCE:
            yield range(start, idx)
            start, longest = idx, path.num_frames
    if paths:
        yield range(start, len(paths))


def footprints(
    grid: SphereGrid, paths: Sequence[CameraTrajectory], reference: CameraTrajectory
) -> Bits:
    """What any frame of each path sees, (P, rows, W): the set F of Alg. 1, the union of Eq. 1.

    The sphere lies around `reference`'s first camera. See `blocks` for how many paths to give.
    """
    seen = np.zeros((len(paths), grid.num_rows, grid.num_words), np.uint64)
    # A path may be longer than the memory is meant for: its pieces add up.
    for start in range(0, max(path.num_frames for path in paths), _FRAMES_AT_ONCE):
        part = slice(start, start + _FRAMES_AT_ONCE)
        c2w, intrinsics = (
            torch.cat([getattr(path, name)[part] for path in paths]).numpy(force=True)
            for name in ("c2w", "intrinsics")
        )
        counts = [max(min(path.num_frames - start, _FRAMES_AT_ONCE), 0) for path in paths]
        cameras = _Cameras(_relative(c2w, reference.c2w[0].numpy(force=True)), intrinsics)
        _add_footprints(
            seen, grid, *_without_repeats(cameras, np.repeat(range(len(paths)), counts))
        )
    return seen


def _relative(c2w: Floats, reference: Floats) -> Floats:
    """Alg. 1's RelativePose: R_ref^T R and R_ref^T (t - t_ref).

    It uses the transpose: files round matrices, and the inverse of a rounded matrix is no rotation.
    Written out, as a matrix product may round one path otherwise than the same path among others.
    """
    turned = c2w[:, :3].copy()
    turned[:, :, 3] -= reference[:3, 3]
    relative = c2w.copy()
    relative[:, :3] = sum(reference[axis, :3, None] * turned[:, axis, None] for axis in range(3))
    return relative


def _without_repeats(cameras: _Cameras, path_idx: Ints) -> tuple[_Cameras, Ints]:
    """Cameras and the path of each (F,), without those that equal the camera before."""
    numbers = np.concatenate([values.reshape(len(path_idx), -1) for values in cameras], axis=1)
    is_new = np.ones(len(path_idx), bool)
    is_new[1:] = (numbers[1:] != numbers[:-1]).any(axis=1) | (path_idx[1:] != path_idx[:-1])
    return _Cameras(*(values[is_new] for values in cameras)), path_idx[is_new]


def _add_footprints(seen: Bits, grid: SphereGrid, cameras: _Cameras, path_idx: Ints) -> None:
    """Add what the cameras (F,) of each path see to `seen` (P, rows, W)."""
    # A number that overflows leaves its points to the projection, which knows infinity.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        planes = _planes(grid, cameras)
        # Step 1: the rows that one frame sees wholly. No other frame adds to them.
        rows = np.arange(grid.num_rows, dtype=np.int32)
        whole_to = np.zeros(len(seen), np.int64)
        whole_from = np.full(len(seen), grid.num_rows, np.int64)
        np.maximum.at(whole_to, path_idx, planes.whole_to)
        np.minimum.at(whole_from, path_idx, planes.whole_from)
        is_whole = (rows < whole_to[:, None]) | (rows >= whole_from[:, None])  # (P, rows)
        seen[is_whole] = grid.whole_row
        # Step 2: the pairs, in the order of paths, then rows. Frames of a path lie side by side.
        counts = np.bincount(path_idx, minlength=len(seen))
        place = np.arange(len(path_idx)) - (np.cumsum(counts) - counts)[path_idx]
        first, stop, frame_at = (
            np.full((len(seen), 1, counts.max()), fill, np.int32) for fill in (grid.num_rows, 0, 0)
        )
        first[path_idx, 0, place] = planes.first_row
        stop[path_idx, 0, place] = planes.stop_row
        frame_at[path_idx, 0, place] = np.arange(len(path_idx))
        is_pair = (first <= rows[:, None]) & (rows[:, None] < stop) & ~is_whole[..., None]
        pair = np.flatnonzero(is_pair)
        path_row = pair // counts.max()
        path, row = path_row // grid.num_rows, path_row % grid.num_rows
        frame = frame_at.take(pair + (path - path_row) * counts.max())
        # Step 3: what each frame sees of each row, then the union over the frames of a path.
        for start in range(0, len(row), _PAIRS_AT_ONCE):
            part = slice(start, start + _PAIRS_AT_ONCE)
            bits = _seen_of_rows(grid, cameras, planes, frame[part], row[part])
            starts = np.flatnonzero(np.diff(path_row[part], prepend=-1))
            union = np.bitwise_or.reduceat(bits, starts, axis=0)
            seen.reshape(-1, grid.num_words)[path_row[part][starts]] |= union


def _planes(grid: SphereGrid, cameras: _Cameras) -> _Planes:
    row_x, row_y = cameras.intrinsics[:, 0], cameras.intrinsics[:, 1]  # each (F, 3)
    depth = np.array([0.0, 0.0, 1.0])
    normals_camera = np.stack([row_x, depth - row_x, row_y, depth - row_y])  # (4, F, 3)
    # Step 1: a plane is normal . p = offset in the sphere's space, for a sphere of radius 1.
    rotations = cameras.c2w[:, :3, :3]
    normals = sum(normals_camera[..., axis, None] * rotations[:, :, axis] for axis in range(3))
    lengths = np.maximum(np.linalg.norm(normals, axis=-1), np.finfo(np.float64).tiny)
    normals /= lengths[..., None]
    centres = cameras.c2w[:, :3, 3] / grid.radius  # (F, 3)
    offsets = (normals * centres).sum(axis=-1)  # (4, F)
    level = np.maximum(np.hypot(normals[..., 0], normals[..., 2]), _LEAST_LEVEL)
    # Step 2: the rounding of a distance, from the largest numbers on its way.
    largest = 1 + np.abs(cameras.intrinsics).max(axis=(1, 2))
    distant = 1 + np.abs(centres).max(axis=1)
    error = _ROUNDING * largest * distant / np.minimum(lengths, 1)
    # Numbers that overflow leave every row to the projection of its points.
    is_wild = ~(np.isfinite(offsets) & np.isfinite(error))
    normals[is_wild], offsets[is_wild], level[is_wild], error[is_wild] = 0, 0, 1, np.inf
    # Step 3: rows by their polar angle. The distance of a row's points to the plane goes from
    # cos(theta + polar) - offset to cos(theta - polar) - offset.
    polar = np.arctan2(level, -normals[..., 1])
    reach, margin = np.arccos(np.clip(offsets, -1, 1)), _ROW_MARGIN + np.sqrt(20 * error)
    per_radian = grid.num_rows / math.pi
    first_row = np.ceil((polar - reach - margin).max(axis=0) * per_radian - 0.5)
    stop_row = np.floor((polar + reach + margin).min(axis=0) * per_radian + 0.5)
    whole_to = np.floor((reach - polar - margin).min(axis=0) * per_radian + 0.5)
    whole_from = np.ceil((2 * math.pi - reach - polar + margin).max(axis=0) * per_radian - 0.5)
    # A plane that does not meet the sphere keeps all of it.
    is_all = (offsets < -1 - 20 * error).all(axis=0)
    whole_to[is_all] = grid.num_rows
    # Step 4: how sure a row's cosine is. Where it is not sure, every row that is cut is projected.
    cosine_error = error * grid.inverse_sine.max() / level
    cosine_error = cosine_error.max(axis=0)
    sure_to = np.where(cosine_error <= _MOST_COSINE_ERROR, 1 - _TOUCH, -1)
    turns = np.arctan2(-normals[..., 0], -normals[..., 2]) / (2 * math.pi)
    rows = (
        np.clip(row, 0, grid.num_rows).astype(np.int64)
        for row in (first_row, stop_row, whole_to, whole_from)
    )
    return _Planes(
        offsets / level,
        normals[..., 1] / level,
        turns % 1 * grid.num_columns - 0.5,
        sure_to,
        1 + _TOUCH + 10 * cosine_error,
        *rows,
    )


def _seen_of_rows(
    grid: SphereGrid, cameras: _Cameras, planes: _Planes, frame: Ints, row: Ints
) -> Bits:
    """The points (N, W) that the frame of each pair sees in the row of the pair."""
    bits, is_unsure, pair_idx, column = _arcs(grid, planes, frame, row)
    # Step 1: the points at the ends of arcs, one by one.
    for start in range(0, len(pair_idx), _POINTS_AT_ONCE):
        part = slice(start, start + _POINTS_AT_ONCE)
        pair, at = pair_idx[part], column[part]
        seen = _sees(cameras, frame[pair], grid.points[row[pair], at])
        words, flags = at[seen] // 64, np.uint64(1) << (at[seen] % 64).astype(np.uint64)
        np.bitwise_or.at(bits, (pair[seen], words), flags)
    # Step 2: the rows that a plane touches, all their points.
    unsure_idx, rows_at_once = np.flatnonzero(is_unsure), -(-_POINTS_AT_ONCE // grid.num_columns)
    for start in range(0, len(unsure_idx), rows_at_once):
        pair = unsure_idx[start : start + rows_at_once]
        points = grid.points[row[pair]]  # (rows at once, columns, 3)
        frames = np.repeat(frame[pair], grid.num_columns)
        seen = _sees(cameras, frames, points.reshape(-1, 3))
        bits[pair] = grid.packed(seen.reshape(len(pair), grid.num_columns))
    return bits


def _arcs(grid: SphereGrid, planes: _Planes, frame: Ints, row: Ints) -> _Arcs:
    # Step 1: the cosine of half of every arc, (4, N).
    cosine = planes.along.take(frame, axis=1)
    cosine *= grid.inverse_sine[row]
    slope = planes.up.take(frame, axis=1)
    slope *= grid.cotangent[row]
    cosine += slope
    size = np.abs(cosine, out=slope)
    is_unsure = size > planes.sure_to[frame]
    is_unsure &= size < planes.sure_from[frame]
    # Step 2: the ends in columns; the points inside by more than a margin are sure.
    np.clip(cosine, -1, 1, out=cosine)
    # torch computes it several numbers at once, numpy one by one.
    half = torch.acos(torch.from_numpy(cosine)).numpy()
    half *= grid.num_columns / (2 * math.pi)
    margin = _END * grid.num_columns / (2 * math.pi)
    centre = planes.centre.take(frame, axis=1)
    low, high = centre - half, centre + half
    low += margin
    high -= margin
    start, last = np.ceil(low), np.floor(high)
    # Step 3: the next point beyond an end is in doubt where it is nearer than the margin.
    low -= start
    high -= last
    below = np.flatnonzero(low < 2 * margin - 1)
    above = np.flatnonzero(high > 1 - 2 * margin)
    last += 1
    starts, stops = start.astype(np.int64), np.maximum(last, start).astype(np.int64)
    columns = np.concatenate([starts.take(below) - 1, last.take(above).astype(np.int64)])
    return _Arcs(
        np.bitwise_and.reduce(grid.arc_bits(starts, stops), axis=0),
        np.logical_or.reduce(is_unsure, axis=0),
        np.concatenate([below, above]) % len(frame),
        columns % grid.num_columns,
    )


def _sees(cameras: _Cameras, frame: Ints, points: Floats) -> Bools:
    """Whether each frame (n,) sees its point (n, 3): both image coordinates in [0, 1), depth > 0.

    As `project_points` and `inside_image`. Written out, as a matrix product may round one point
    otherwise than the same point among others.
    """
    c2w, intrinsics = cameras.c2w[frame], cameras.intrinsics[frame]
    moved = points - c2w[:, :3, 3]
    # R^T (p - t), for row vectors.
    x, y, depth = (
        moved[:, 0] * c2w[:, 0, axis]
        + moved[:, 1] * c2w[:, 1, axis]
        + moved[:, 2] * c2w[:, 2, axis]
        for axis in range(3)
    )
    x, y, one = x / depth, y / depth, depth / depth
    seen = depth > 0
    for axis in range(2):
        lens = intrinsics[:, axis]
        coordinate = x * lens[:, 0] + y * lens[:, 1] + one * lens[:, 2]
        seen &= (coordinate >= 0) & (coordinate < 1)
    return seen
