"""One camera path as the model gets it: three planes and the sphere of viewed directions.

A caption says what the numbers mean.
"""

import math

import torch

from ..cameras.playback import playback_summary
from ..cameras.trajectory import CameraTrajectory
from ..retrieval.video_fov import VideoFovConfig
from .canvas import FAINT_TEXT, SERIES, SOURCE, TEXT, Canvas, stack_pictures
from .planes import PLANES, draw_plane
from .sphere import SphereView, draw_sphere


def path_from_poses(poses: torch.Tensor, intrinsics: torch.Tensor) -> CameraTrajectory:
    """The path of poses (T, 12), [R|t] row by row.

    intrinsics: (T, 3, 3) normalised.
    """
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(poses), 1, 1)
    c2w[:, :3] = poses.reshape(-1, 3, 4).to(torch.float64)
    return CameraTrajectory(c2w, intrinsics)


def draw_path(
    poses: torch.Tensor,
    intrinsics: torch.Tensor,
    source: CameraTrajectory | None = None,
    config: VideoFovConfig | None = None,
) -> torch.Tensor:
    """Picture (H, W, 3) in [0, 1] of the numbers that condition the model; see `path_from_poses`.

    source: the source's path relative to its own first frame, drawn in grey.
    """
    path = path_from_poses(poses, intrinsics)
    planes = stack_pictures([draw_plane(plane, path, source) for plane in PLANES], is_row=True)
    width_px = planes.shape[1]
    views = [SphereView(path, SERIES[0])]
    if source is not None:
        # First, so that the source lies under the path.
        views.insert(0, SphereView(source, SOURCE))
    sphere = draw_sphere(views, source or path, width_px, config)
    return stack_pictures([_caption(path, source, width_px), planes, sphere], gap=6)


def path_summary(path: CameraTrajectory) -> str:
    """The path in words: number of cameras, largest turn and distance from the first, lens, and
    its playback where it has one."""
    turned_deg, moved = path_reach(path)
    fov_deg = 2 * math.degrees(math.atan(0.5 / float(path.intrinsics[0, 0, 0])))
    playback = "" if path.times is None else f"; {playback_summary(path.times)}"
    return (
        f"{path.num_frames} cameras, turning up to {turned_deg:.1f} degrees and moving up to "
        f"{moved:.3g} pose units from the first; lens {fov_deg:.1f} degrees across{playback}"
    )


def path_reach(path: CameraTrajectory) -> tuple[float, float]:
    """The largest turn from the first camera in degrees, and the largest distance from it."""
    rotation = path.c2w[0, :3, :3].T @ path.c2w[:, :3, :3]
    # The trace of a rotation by angle a is 1 + 2 cos a.
    cosines = ((rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1)
    turned_deg = float(torch.rad2deg(torch.arccos(cosines)).max())
    return turned_deg, float((path.c2w[:, :3, 3] - path.c2w[0, :3, 3]).norm(dim=1).max())


def _caption(
    path: CameraTrajectory, source: CameraTrajectory | None, width_px: int
) -> torch.Tensor:
    canvas = Canvas(width_px, 44)
    canvas.text((8, 4), path_summary(path), TEXT, 14)
    drawn = (
        "green first, red last, the image's upper edge thick; below: directions seen, degrees "
        "right and up"
    )
    canvas.text(
        (8, 24), drawn + (" (source in grey)" if source is not None else ""), FAINT_TEXT, 12
    )
    return canvas.picture()
