"""Camera paths for a clip that was fitted to a model: as many cameras, and the fitted picture.

F frames.
"""

from dataclasses import replace

from ..cameras.resampling import resample_trajectory
from ..cameras.trajectory import CameraTrajectory
from .fitting import FittingPlan


def held_to_the_end(path: CameraTrajectory, plan: FittingPlan) -> CameraTrajectory:
    """A path over the chosen frames, over the frames of the fitted clip.

    The clip's last frame is held until the VAE takes the count, and so is the last camera.
    """
    last = path.num_frames - 1
    if path.num_frames == plan.num_frames:
        return path
    return path.frames(tuple(min(idx, last) for idx in range(plan.num_frames)))


def fitted_source_path(path: CameraTrajectory, plan: FittingPlan) -> CameraTrajectory:
    """The camera of the clip as the model sees it: of the chosen frames, with the fitted lens.

    path: one camera for each frame of the clip, or for each frame of the fitted clip with its lens.

    Raises: ValueError for another number of cameras.
    """
    num_chosen = len(plan.chosen)
    if path.num_frames == plan.num_source:
        columns = plan.source_size[1] / plan.source_size[0]
        chosen = path.cropped_to(columns).frames(plan.chosen)
        return held_to_the_end(_with_fitted_lens(chosen, plan), plan)
    if path.num_frames not in (num_chosen, plan.num_frames):
        raise ValueError(
            f"source_camera got {path.num_frames} cameras, wanted {plan.num_source}, one for each "
            f"frame of the clip, or {num_chosen}, one for each frame that the model sees; make the "
            "path of this very clip"
        )
    return held_to_the_end(path.cropped_to(_aspect(plan)), plan)


def fitted_target_path(path: CameraTrajectory, plan: FittingPlan) -> CameraTrajectory:
    """A new camera path over the frames of the fitted clip, its lens for the fitted picture.

    A path of the clip's length gives the cameras of the chosen frames. A path of any other length
    is the same move in as many frames as the model sees.
    """
    num_chosen = len(plan.chosen)
    if path.num_frames == plan.num_source:
        path = path.frames(plan.chosen)
    elif path.num_frames not in (num_chosen, plan.num_frames):
        path = resample_trajectory(path, num_chosen)
    return held_to_the_end(path.cropped_to(_aspect(plan)), plan)


def _with_fitted_lens(path: CameraTrajectory, plan: FittingPlan) -> CameraTrajectory:
    """The lens for the fitted picture, which is a part of the clip's, or has bars around it."""
    intrinsics = path.intrinsics.clone()
    # Columns first, as in (x, y).
    for axis, (scaled, size) in enumerate(
        zip(reversed(plan.scaled), reversed(plan.size), strict=True)
    ):
        intrinsics[:, axis, axis] *= scaled / size
        intrinsics[:, axis, 2] = 0.5 + (intrinsics[:, axis, 2] - 0.5) * scaled / size
    return replace(path, intrinsics=intrinsics)


def _aspect(plan: FittingPlan) -> float:
    """Width divided by height of the fitted picture."""
    return plan.size[1] / plan.size[0]
