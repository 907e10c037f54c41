"""A clip's camera from views of it, single frames whose cameras a network estimated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .resampling import fill_gaps
from .trajectory import CameraTrajectory

# Half a step of 8 bits: pictures of the same frame differ by less.
_SAME_PICTURE = 0.5 / 255
# Networks give rotations in 16 bits at worst; a matrix further off is none.
_ROTATION_TOLERANCE = 0.05
_MIN_FOV_DEG, _MAX_FOV_DEG = 2.0, 170.0


@dataclass(frozen=True, eq=False)
class EstimatedViews:
    """V views of one scene, in the order of the clip.

    w2c: (V, 4, 4), OpenCV world-to-camera, translations in the unit of the depth.
    intrinsics: (V, 3, 3), normalised by image size.
    pictures: (V, H, W, 3) in [0, 1], the frames that were estimated.
    """

    w2c: torch.Tensor
    intrinsics: torch.Tensor
    pictures: torch.Tensor


def trajectory_of_views(
    views: EstimatedViews, clip: torch.Tensor, *, scale: float = 1.0, has_one_lens: bool = True
) -> CameraTrajectory:
    """The camera of every frame of `clip` (F, H, W, 3), relative to its first one.

    Cameras between two views turn at constant speed and move on a straight line.
    scale: multiplies translations, whose unit a network does not know.
    has_one_lens: every frame gets the median lens, since few clips zoom.

    Raises: ValueError for views that are no frames of the clip in its order, that leave out its
    first or its last frame, and for cameras that are none.
    """
    frame_idx = frames_of_views(views.pictures, clip)
    if frame_idx[0] != 0 or frame_idx[-1] != clip.shape[0] - 1:
        raise ValueError(
            f"the views got frames {frame_idx[0]} to {frame_idx[-1]}, wanted 0 to "
            f"{clip.shape[0] - 1}, the whole clip; let the first and the last frame be views"
        )
    w2c = _nearest_poses(views.w2c.to(torch.float64))
    c2w = torch.linalg.inv(w2c)
    c2w[:, :3, 3] *= scale
    intrinsics = views.intrinsics.to(torch.float64)
    _require_lenses(intrinsics)
    if has_one_lens:
        intrinsics = intrinsics.median(dim=0, keepdim=True).values.expand_as(intrinsics).clone()
    known = CameraTrajectory(c2w, intrinsics)
    path = fill_gaps(known, frame_idx)
    return path.relative_to(path)


def frames_of_views(pictures: torch.Tensor, clip: torch.Tensor) -> tuple[int, ...]:
    """Which frames of `clip` (F, H, W, 3) the `pictures` (V, H, W, 3) are, ascending.

    Views that are spread evenly from the first to the last frame are tried first, so frames that
    stand still cannot be mistaken for each other. Otherwise each view is the next equal frame.

    Raises: ValueError for other sizes, and for a view that is no later frame of the clip.
    """
    num_frames, num_views = clip.shape[0], pictures.shape[0]
    if pictures.shape[1:] != clip.shape[1:] or num_views > num_frames:
        raise ValueError(
            f"the views got shape {tuple(pictures.shape)}, wanted frames of the clip "
            f"{tuple(clip.shape)}; estimate them from the clip that is connected here"
        )
    even = [round(i * (num_frames - 1) / max(num_views - 1, 1)) for i in range(num_views)]
    if all(map(_are_same, pictures, clip[even])):
        return tuple(even)
    found: list[int] = []
    for view_idx, picture in enumerate(pictures):
        start = found[-1] + 1 if found else 0
        frame = next((i for i in range(start, num_frames) if _are_same(picture, clip[i])), None)
        if frame is None:
            raise ValueError(
                f"view {view_idx} got a picture that is no frame of the clip after frame "
                f"{start - 1}, wanted frames of the clip in its order; estimate them from the clip "
                "that is connected here"
            )
        found.append(frame)
    return tuple(found)


def _are_same(first: torch.Tensor, second: torch.Tensor) -> bool:
    # A few rows tell most pictures apart quickly.
    return all(
        float((first[rows] - second[rows]).abs().max()) <= _SAME_PICTURE
        for rows in (slice(None, None, 16), slice(None))
    )


def _nearest_poses(w2c: torch.Tensor) -> torch.Tensor:
    """The same poses (V, 4, 4) with exact rotations in place of nearly exact ones."""
    bad = (~torch.isfinite(w2c)).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"the camera of view {bad[0]} got NaN or infinity, wanted a pose; the estimation "
            "failed, take other views or a larger model"
        )
    u, _, vh = torch.linalg.svd(w2c[:, :3, :3])
    nearest = u @ vh
    error = (nearest - w2c[:, :3, :3]).abs().amax(dim=(1, 2))
    is_bad: Sequence[bool] = (
        (error > _ROTATION_TOLERANCE) | (torch.linalg.det(nearest) < 0)
    ).tolist()
    if any(is_bad):
        raise ValueError(
            f"the camera of view {is_bad.index(True)} got a scaled, sheared or mirrored matrix, "
            "wanted a rotation and a translation; the estimation failed, take other views"
        )
    result = w2c.clone()
    result[:, :3, :3] = nearest
    return result


def _require_lenses(intrinsics: torch.Tensor) -> None:
    focals = intrinsics[:, (0, 1), (0, 1)]  # (V, 2)
    fov_deg = torch.rad2deg(2 * torch.atan(0.5 / focals))
    # The comparison is also false for NaN.
    is_good = (fov_deg > _MIN_FOV_DEG) & (fov_deg < _MAX_FOV_DEG)
    for view_idx, good in enumerate(is_good.all(dim=1).tolist()):
        if not good:
            across, down = fov_deg[view_idx].tolist()
            raise ValueError(
                f"the lens of view {view_idx} got {across:.1f} x {down:.1f} degrees, wanted "
                f"{_MIN_FOV_DEG:g} to {_MAX_FOV_DEG:g}; the estimation failed, take other views or "
                "a larger model"
            )
