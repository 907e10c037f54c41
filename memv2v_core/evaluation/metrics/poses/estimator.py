"""What an estimator of cameras is: a video in, the path of its camera out."""

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, eq=False)
class EstimatedPoses:
    """The cameras that an estimator found in one video, in a world and a scale of its own.

    c2w: (F, 4, 4) float64, OpenCV camera-to-world; the identity where no pose was found.
    is_posed: (F,) bool, True where a pose was found.

    Raises: ValueError for wrong shapes, and for numbers that are not finite in a posed frame.
    """

    c2w: torch.Tensor
    is_posed: torch.Tensor

    def __post_init__(self) -> None:
        num_frames = self.c2w.shape[0]
        if self.c2w.ndim != 3 or self.c2w.shape[1:] != (4, 4):
            raise ValueError(
                f"estimated c2w got shape {tuple(self.c2w.shape)}, wanted (F, 4, 4); pass one "
                "matrix a frame"
            )
        if self.is_posed.shape != (num_frames,) or self.is_posed.dtype != torch.bool:
            raise ValueError(
                f"is_posed got shape {tuple(self.is_posed.shape)} of {self.is_posed.dtype}, wanted "
                f"({num_frames},) of torch.bool; pass one answer a frame"
            )
        # float64 on the CPU: the estimator may have worked elsewhere and in less.
        object.__setattr__(self, "c2w", self.c2w.to("cpu", torch.float64))
        object.__setattr__(self, "is_posed", self.is_posed.cpu())
        bad = ~torch.isfinite(self.c2w).flatten(1).all(1) & self.is_posed
        if bad.any():
            raise ValueError(
                f"estimated c2w got NaN or infinity in frame {int(bad.nonzero()[0])}, wanted "
                "finite numbers; set is_posed to False where no pose was found"
            )


class PoseEstimator(Protocol):
    """Finds the camera of every frame of one video.

    identity: its package and settings.
    """

    identity: str

    def __call__(self, video: torch.Tensor, intrinsics: torch.Tensor | None) -> EstimatedPoses:
        """The cameras of a video (F, 3, H, W) in 0..1.

        intrinsics: (F, 3, 3) normalised by image size; None where the lens is unknown.

        A video in which no camera can be found gives frames without a pose, not an error.

        Raises: ValueError for input that the estimator cannot take.
        """
        ...


def no_poses(num_frames: int) -> EstimatedPoses:
    """The answer of an estimator that found nothing."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    return EstimatedPoses(c2w, torch.zeros(num_frames, dtype=torch.bool))
