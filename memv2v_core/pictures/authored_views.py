"""A path that is being made, in the numbers that its editor draws. See `direction_map`."""

from dataclasses import dataclass
from typing import Any

import torch

from ..cameras.authored import PathSettings, as_keyframes, authored_path
from ..cameras.keyframe_text import path_to_json
from ..cameras.keyframes import NUMBERS, KeyframedPath, numbers_at, path_times, poses_at
from ..cameras.trajectory import CameraTrajectory, pose_vectors, static_trajectory
from ..retrieval.video_fov import VideoFovConfig, video_fov_mask
from .direction_map import Point, mask_outlines, turned_deg, view_outlines
from .paths import path_reach

# More lines than pixels on a scrubber are of no use.
MAX_SHOWN_FRAMES = 121


@dataclass(frozen=True, eq=False)
class AuthoredView:
    """What a page draws of a path. All directions are degrees to the right and up of the source.

    path: the cameras themselves. keyframes: as JSON; those of a preset make the same cameras.
    frames: the indices of the drawn frames, of the first and the last one always.
    poses: (drawn frames, 12) float32, [R|t] row by row, what the model is given for these frames.
    numbers: (drawn frames, N) what a keyframe there would hold, in the order of `NUMBERS`.
    keyframe_poses: (K, 12) the poses of every keyframe.
    """

    path: CameraTrajectory
    keyframes: dict[str, Any]
    frames: tuple[int, ...]
    times: tuple[float, ...]
    poses: torch.Tensor
    numbers: torch.Tensor
    keyframe_poses: torch.Tensor
    directions: list[Point]
    views: list[list[Point]]
    seen: list[list[Point]]

    def as_json(self) -> dict[str, Any]:
        """The numbers as a page reads them, without the cameras of other frames."""
        (fx, _, cx), (_, fy, cy), _ = self.path.intrinsics[0].tolist()
        turned_deg, moved = path_reach(self.path)
        return {
            "keyframes": self.keyframes,
            "num_frames": self.path.num_frames,
            "frames": self.frames,
            "times": self.times,
            "poses": self.poses.tolist(),
            "number_names": NUMBERS,
            "numbers": self.numbers.tolist(),
            "keyframe_poses": self.keyframe_poses.tolist(),
            "directions": self.directions,
            "views": self.views,
            "seen": self.seen,
            "lens": {"fx": fx, "fy": fy, "cx": cx, "cy": cy},
            "turned_deg": turned_deg,
            "moved": moved,
        }


def authored_view(
    settings: PathSettings,
    num_frames: int,
    lens: torch.Tensor,
    config: VideoFovConfig | None = None,
) -> AuthoredView:
    """The view of the path that Camera Trajectory makes of these settings.

    lens: normalised intrinsics (3, 3). config: of the sphere whose points are `seen`.

    Raises: ValueError as `authored_path`.
    """
    path = authored_path(settings, num_frames, lens)
    keyed = as_keyframes(settings, num_frames)
    frames = _spread(num_frames)
    drawn, source = path.frames(frames), static_trajectory(1)
    every_time = path_times(keyed, num_frames)
    times = tuple(every_time[idx] for idx in frames)
    return AuthoredView(
        path,
        path_to_json(keyed),
        frames,
        times,
        pose_vectors(drawn, source),
        numbers_at(keyed, times),
        _keyframe_poses(keyed),
        turned_deg(drawn),
        view_outlines(drawn),
        mask_outlines(video_fov_mask(path, source, config)),
    )


def _spread(num_frames: int) -> tuple[int, ...]:
    count = min(num_frames, MAX_SHOWN_FRAMES)
    return tuple(round(idx * (num_frames - 1) / max(count - 1, 1)) for idx in range(count))


def _keyframe_poses(path: KeyframedPath) -> torch.Tensor:
    c2w = poses_at(path, tuple(keyframe.time for keyframe in path.keyframes))
    return c2w[:, :3].reshape(-1, 12).to(torch.float32)
