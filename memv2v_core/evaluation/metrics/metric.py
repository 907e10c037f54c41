"""What a metric is: videos in, one number a video or a pair of turns out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from ...cameras.trajectory import CameraTrajectory
from .segment_looks import SegmentedScene

# What a metric measures: each video by itself, or two turns of one clip together.
Subject = Literal["video", "pair"]
# What a metric needs beside the videos.
Need = Literal["truth", "camera", "source_camera", "scene", "time"]


@dataclass(frozen=True)
class Column:
    """One number that a metric measures.

    unit: as it stands in a table; empty for a plain number.
    is_counted: whether it is counted and not measured: then no test and no interval says anything.
    """

    name: str
    unit: str = ""
    is_better_high: bool = True
    is_counted: bool = False


@dataclass(frozen=True, eq=False)
class Batch:
    """B videos of one shape, and what belongs to each.

    videos: (B, F, 3, H, W) in 0..1, float32.
    others: the second turn of each pair, of the same shape, for a metric of pairs; else None.
    truths: what each video should be, of the same shape; None where nobody knows.
    cameras: the path that each video was asked for; None without cameras.
    other_cameras: of `others`. source_cameras: of the source clips.
    scenes: the known facts about the edited clip that each video shows.
    seconds: that each video took to make.
    frame_rate: frames a second.
    """

    videos: torch.Tensor
    others: torch.Tensor | None = None
    truths: torch.Tensor | None = None
    cameras: Sequence[CameraTrajectory] | None = None
    other_cameras: Sequence[CameraTrajectory] | None = None
    source_cameras: Sequence[CameraTrajectory] | None = None
    scenes: Sequence[SegmentedScene] | None = None
    seconds: Sequence[float] | None = None
    frame_rate: float = 16.0


class Metric(Protocol):
    """Measures a batch; its weights are loaded when it is made.

    identity: what decides the values beside the videos, such as settings and a hash of weights;
    stored values of another identity do not count.
    """

    identity: str
    columns: tuple[Column, ...]
    subject: Subject
    needs: frozenset[Need]

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, len(columns)) float64; NaN where a value does not exist.

        Raises: ValueError naming what is missing or wrong.
        """
        ...
