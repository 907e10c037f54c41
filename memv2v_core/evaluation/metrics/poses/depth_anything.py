"""Cameras by Depth Anything 3, a network that sees all frames at once: a `PoseEstimator`.

Where structure from motion needs parallax, the network guesses from what pictures look like. So it
gives a pose for every frame that it sees, also of a clip whose camera only turns, and also of a
clip that shows no rigid scene: nothing marks a bad pose.

Conventions. The package gives world-to-camera matrices [R|t], OpenCV axes, in a world and a scale
of its own; they are inverted here in float64. `errors.py` then compares both paths relative to
their first posed frame, with one scale a path, as for any estimator. Degrees and percent of the
asked path's longest distance are its units.

The lens: the network finds its own for every frame. The package takes known intrinsics only
together with known cameras, so the known lens is not used.

Frames: all, at the package's size of 504 pixels for the longer side. A video of more than
`most_views` frames shows that many, evenly spaced, with the first and the last. Our choice: the
others count as not posed, and are in no mean; "posed frames" tells their share, and CamI2V's
columns, which want every frame, do not exist. The package computes in bfloat16 on a GPU that has
it, else in float16, on CPUs too.

What was run: the real package on a CPU, both networks, with random numbers as weights. Nobody ran
it here with the published weights, so how exact its poses are on generated videos is not known.

Source: Lin et al., arXiv:2511.10647; PyPI depth-anything-3 0.1.1, api.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from ..interpreters.worker import Worker
from ..vbench import as_bytes
from ..weights_folder import PublicPart, files_identity, find_weights
from .errors import MIN_POSED_FRAMES
from .estimator import EstimatedPoses, no_poses

NAME = "pose_da3"
SCRIPT = "depth_anything_poses.py"
DepthAnythingName = Literal["da3-small", "da3-base"]
# Sizes are those of all numbers of the package's networks in float32.
PARTS: dict[DepthAnythingName, PublicPart] = {
    "da3-small": PublicPart("da3-small", "depth-anything/DA3-SMALL", 137, other_files=()),
    "da3-base": PublicPart("da3-base", "depth-anything/DA3-BASE", 541, other_files=()),
}


@dataclass(frozen=True)
class DepthAnythingConfig:
    """What decides the poses beside the video.

    model: the network. most_views: frames that it sees at once, from 2; its memory grows with them.
    size: pixels of the longer side.

    Raises: ValueError naming the first bad value.
    """

    model: DepthAnythingName = "da3-base"
    most_views: int = 100
    size: int = 504

    def __post_init__(self) -> None:
        if self.model not in get_args(DepthAnythingName):
            raise ValueError(
                f"model got {self.model!r}, wanted one of {list(get_args(DepthAnythingName))}; "
                "pass one"
            )
        for name, least in (("most_views", MIN_POSED_FRAMES), ("size", 14)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} got {getattr(self, name)}, wanted at least {least}; raise it"
                )


class DepthAnythingEstimator:
    """Finds cameras by Depth Anything 3: a `PoseEstimator`.

    weights: the folder that holds the folder `da3-base` or `da3-small`.

    Raises: ValueError for missing weights, for a missing Python, and where its script ends.
    """

    def __init__(
        self,
        weights: Path,
        device: torch.device | str = "cpu",
        config: DepthAnythingConfig | None = None,
    ) -> None:
        self.config = config or DepthAnythingConfig()
        path = find_weights(weights, PARTS[self.config.model])
        settings: dict[str, Any] = {
            "device": str(device),
            "model": self.config.model,
            "weights": str(path.resolve()),
            "hub": {"repositories": {}, "files": {}},
        }
        self.worker = Worker(NAME, SCRIPT, settings)
        version = self.worker.facts["version"]
        self.identity = f"depth-anything-3 {version} {self.config} {files_identity([path])}"

    def __call__(self, video: torch.Tensor, intrinsics: torch.Tensor | None) -> EstimatedPoses:
        """The cameras of a video (F, 3, H, W) in 0..1.

        intrinsics: not used. No frame is posed in a video of fewer than 2 frames, or with values
        that are no numbers; a frame whose pose is not finite is not posed.

        Raises: ValueError for another shape, and where the script ends.
        """
        del intrinsics
        if video.ndim != 4 or video.shape[1] != 3:
            raise ValueError(
                f"the video got shape {tuple(video.shape)}, wanted (F, 3, H, W); pass one RGB video"
            )
        if len(video) < MIN_POSED_FRAMES or not video.isfinite().all():
            return no_poses(len(video))
        views = seen_frames(len(video), self.config.most_views)
        reply = self.worker.ask({"size": self.config.size}, {"frames": as_bytes(video[views])})
        w2c = np.array(reply["w2c"], np.float64)
        if w2c.shape != (len(views), 3, 4):
            raise ValueError(
                f"Depth Anything 3 got {len(views)} frames and gave cameras of shape {w2c.shape}, "
                f"wanted ({len(views)}, 3, 4); install depth-anything-3 0.1.1"
            )
        return _as_estimate(torch.from_numpy(w2c), views, len(video))


def seen_frames(num_frames: int, most_views: int) -> list[int]:
    """Indices of the frames that the network sees: all, or evenly spaced with both ends."""
    if num_frames <= most_views:
        return list(range(num_frames))
    return [round(step * (num_frames - 1) / (most_views - 1)) for step in range(most_views)]


def _as_estimate(w2c: torch.Tensor, views: list[int], num_frames: int) -> EstimatedPoses:
    estimate = no_poses(num_frames)
    rotations = w2c[:, :, :3].transpose(1, 2)  # (V, 3, 3) camera to world
    centres = -(rotations @ w2c[:, :, 3:])[..., 0]  # (V, 3)
    for view, frame_idx in enumerate(views):
        if w2c[view].isfinite().all():
            estimate.c2w[frame_idx, :3, :3] = rotations[view]
            estimate.c2w[frame_idx, :3, 3] = centres[view]
            estimate.is_posed[frame_idx] = True
    return estimate
