"""RotErr and TransErr as a metric of videos."""

from collections.abc import Sequence

import torch

from ....cameras.trajectory import CameraTrajectory, require_length
from ..metric import Batch, Column, Need, Subject
from .errors import path_errors
from .estimator import PoseEstimator


class PoseErrors:
    """How far the camera of each video is from the camera that it was asked for: a `Metric`.

    estimator: finds the cameras in the videos; its mistakes are in the numbers too.
    is_lens_known: True lets the estimator take the intrinsics of the asked cameras as the lens of
    the video; False lets it find the lens.

    `errors` says what each column means. A mean over videos leaves NaN out, so show "posed frames"
    beside it: a model whose bad videos cannot be posed would look good without it.
    """

    columns: tuple[Column, ...] = (
        Column("RotErr", "deg", is_better_high=False),
        Column("TransErr", "%", is_better_high=False),
        Column("posed frames", "%"),
        Column("RotErr CamI2V", "rad", is_better_high=False),
        Column("TransErr CamI2V", is_better_high=False),
        Column("CamMC CamI2V", is_better_high=False),
    )
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset({"camera"})

    def __init__(self, estimator: PoseEstimator, is_lens_known: bool = True) -> None:
        self.estimator = estimator
        self.is_lens_known = is_lens_known
        lens = "known" if is_lens_known else "unknown"
        self.identity = f"{estimator.identity}, lens {lens}"

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 6) float64, one row a video.

        Raises: ValueError for missing cameras, for cameras that were only assumed, and for paths
        of another length than the videos.
        """
        rows = []
        for video, asked in zip(batch.videos, _asked_cameras(batch), strict=True):
            estimated = self.estimator(video, asked.intrinsics if self.is_lens_known else None)
            errors = path_errors(estimated, asked)
            rows.append(
                (
                    errors.rotation_deg,
                    errors.translation_percent,
                    errors.posed_percent,
                    errors.cami2v_rotation_rad,
                    errors.cami2v_translation,
                    errors.cami2v_motion,
                )
            )
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.columns))


def _asked_cameras(batch: Batch) -> Sequence[CameraTrajectory]:
    """One known path a video, of its length."""
    num_videos, num_frames = batch.videos.shape[:2]
    if batch.cameras is None or len(batch.cameras) != num_videos:
        got = 0 if batch.cameras is None else len(batch.cameras)
        raise ValueError(
            f"cameras got {got} paths, wanted {num_videos}, one a video; pass the path that each "
            "video was asked for"
        )
    for video_idx, camera in enumerate(batch.cameras):
        require_length(camera, num_frames, f"video {video_idx}")
        if camera.is_assumed:
            raise ValueError(
                f"the camera of video {video_idx} got an assumed path, wanted the path that the "
                "video was asked for; pass that path or leave the pose errors out"
            )
    return batch.cameras
