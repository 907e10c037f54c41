"""World, camera and image space, and exact warps between views that share a centre.

F frames, H rows, W columns, N points. Image coordinates are divided by image size: (0, 0) is the
outer corner of the first pixel, (1, 1) the outer corner of the last. Pixel centres lie at +0.5.
"""

import torch

from .trajectory import CameraTrajectory, require_length

# Two cameras share a centre when they lie closer than this, in pose units.
SHARED_CENTRE_TOLERANCE = 1e-6
# Rounding allowed, in pixels, when deciding that bilinear sampling stays between pixel centres.
SUPPORT_TOLERANCE_PX = 1e-6


def pixel_centres(height: int, width: int) -> torch.Tensor:
    """Homogeneous image coordinates (H, W, 3) float64 of all pixel centres: x, y, 1."""
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def pixel_rays(
    c2w: torch.Tensor, intrinsics: torch.Tensor, height: int, width: int
) -> torch.Tensor:
    """Unit directions (..., H, W, 3) in world space through all pixel centres.

    c2w (..., 4, 4), intrinsics (..., 3, 3) normalised; the rays start at c2w[..., :3, 3].
    """
    centres = pixel_centres(height, width).to(c2w)
    image_to_world = c2w[..., :3, :3] @ torch.linalg.inv(intrinsics)  # (..., 3, 3)
    rays = torch.einsum("...ij,hwj->...hwi", image_to_world, centres)
    return torch.nn.functional.normalize(rays, dim=-1)


def project_points(
    points: torch.Tensor, c2w: torch.Tensor, intrinsics: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Image coordinates (..., N, 2) and depths (..., N) of world points (..., N, 3).

    Depth is the camera-space z; where it is not positive the coordinates mean nothing (see
    `inside_image`).
    """
    # R^T (p - t), for row vectors.
    points_camera = (points - c2w[..., None, :3, 3]) @ c2w[..., :3, :3]
    return _camera_to_image(points_camera, intrinsics)


def project_directions(
    directions: torch.Tensor, c2w: torch.Tensor, intrinsics: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `project_points`, for points infinitely far away in world `directions` (..., N, 3).

    The centres of the cameras therefore play no part.
    """
    return _camera_to_image(directions @ c2w[..., :3, :3], intrinsics)


def _camera_to_image(
    points_camera: torch.Tensor, intrinsics: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    depth = points_camera[..., 2]
    homogeneous = (points_camera / depth[..., None]) @ intrinsics.transpose(-1, -2)
    return homogeneous[..., :2], depth


def inside_image(coordinates: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """True (..., N) where a projected point is visible.

    Visible means: both coordinates in [0, 1) and a positive depth.
    """
    return (coordinates >= 0).all(-1) & (coordinates < 1).all(-1) & (depth > 0)


def rotation_homography(from_camera: CameraTrajectory, to_camera: CameraTrajectory) -> torch.Tensor:
    """Matrices (F, 3, 3) that map image coordinates in `to_camera` to `from_camera`.

    Each matrix is K1 R1^T R2 K2^-1, 1 for `from_camera`, 2 for `to_camera`. It is exact because
    both cameras share their centre in every frame.

    Raises: ValueError when the lengths differ or a centre does.
    """
    require_length(to_camera, from_camera.num_frames, "target of the warp")
    distance = (from_camera.c2w[:, :3, 3] - to_camera.c2w[:, :3, 3]).norm(dim=-1)
    if (distance > SHARED_CENTRE_TOLERANCE).any():
        frame_idx = int(distance.argmax())
        raise ValueError(
            f"camera centres got {float(distance[frame_idx]):.4g} pose units apart in frame "
            f"{frame_idx}, wanted 0; a warp without depth is exact only between cameras that "
            "rotate about one point"
        )
    # From image to directions of `to_camera`, turned into `from_camera`, and back to image.
    rotation = from_camera.c2w[:, :3, :3].transpose(-1, -2) @ to_camera.c2w[:, :3, :3]  # (F, 3, 3)
    return from_camera.intrinsics @ rotation @ torch.linalg.inv(to_camera.intrinsics)


def warp_by_rotation(
    video: torch.Tensor, from_camera: CameraTrajectory, to_camera: CameraTrajectory
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `to_camera` would see of a video filmed by `from_camera`, and where it is known.

    video: (F, 3, H, W). Returns the warped video (F, 3, H, W), bilinear, zero where unknown, and a
    bool mask (F, 1, H, W). The mask is true where all pixels that the interpolation needs exist.
    Output frame f reads input frame f alone.

    Raises: ValueError when frame counts differ or the cameras do not share their centres.
    """
    num_frames, _, height, width = video.shape
    require_length(from_camera, num_frames, "video to warp")
    homography = rotation_homography(from_camera, to_camera).to(video.device)
    # Step 1: where each output pixel lies in the input frame, in pixels.
    points = torch.einsum(
        "fij,hwj->fhwi", homography, pixel_centres(height, width).to(video.device)
    )  # (F, H, W, 3)
    in_front = points[..., 2] > 0
    size = torch.tensor([width, height], dtype=torch.float64, device=video.device)
    x_y_px = points[..., :2] / points[..., 2:] * size - 0.5  # pixel centres at integers
    # Step 2: a pixel is known where all four neighbours of the bilinear sample exist.
    supported = (x_y_px >= -SUPPORT_TOLERANCE_PX) & (x_y_px <= size - 1 + SUPPORT_TOLERANCE_PX)
    is_known = (in_front & supported.all(-1))[:, None]  # (F, 1, H, W)
    # Step 3: sample. grid_sample counts -1 to 1 between the outer corners of the image.
    grid = torch.where(is_known[:, 0, :, :, None], (2 * x_y_px + 1) / size - 1, 0.0)
    warped = torch.nn.functional.grid_sample(
        video, grid.to(video.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return torch.where(is_known, warped, 0.0), is_known


def seen_mask(
    viewer: CameraTrajectory, observers: CameraTrajectory, height: int, width: int
) -> torch.Tensor:
    """True (F, 1, H, W) at pixels of each frame of `viewer` that any frame of `observers` sees.

    Both paths are in one world space. Pixels count as directions, which is exact when all cameras
    share a centre.
    """
    observing = unique_cameras(observers)
    # One viewing frame at a time: the rays of a whole video would need much memory.
    masks = [
        _seen_directions(rays.reshape(-1, 3), observing).reshape(1, height, width)
        for rays in (
            pixel_rays(c2w, lens, height, width)
            for c2w, lens in zip(viewer.c2w, viewer.intrinsics, strict=True)
        )
    ]
    return torch.stack(masks)


def _seen_directions(directions: torch.Tensor, observing: CameraTrajectory) -> torch.Tensor:
    """True (N,) for directions (N, 3) inside any frame of `observing`."""
    seen = torch.zeros(len(directions), dtype=torch.bool)
    for c2w, lens in zip(observing.c2w, observing.intrinsics, strict=True):
        # Each direction is tested only until a frame sees it.
        unseen_idx = (~seen).nonzero()[:, 0]
        if len(unseen_idx) == 0:
            break
        seen[unseen_idx] = inside_image(*project_directions(directions[unseen_idx], c2w, lens))
    return seen


def unique_cameras(trajectory: CameraTrajectory) -> CameraTrajectory:
    """The path without frames that repeat an earlier camera bit for bit.

    Cameras stay in the order of their first appearance.
    """
    rows = torch.cat([trajectory.c2w.flatten(1), trajectory.intrinsics.flatten(1)], dim=1)
    first_idx: dict[tuple[float, ...], int] = {}
    for frame_idx, row in enumerate(rows.tolist()):
        first_idx.setdefault(tuple(row), frame_idx)
    return trajectory.frames(tuple(first_idx.values()))
