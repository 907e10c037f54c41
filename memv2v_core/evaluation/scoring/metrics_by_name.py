"""The metrics that a suite may name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from ..metrics.feature_consistency import ClipF, DinoF
from ..metrics.geometry import Geometry
from ..metrics.lpips import Lpips
from ..metrics.met3r import Met3r
from ..metrics.metric import Metric
from ..metrics.poses.colmap import ColmapConfig, ColmapEstimator
from ..metrics.poses.depth_anything import DepthAnythingEstimator
from ..metrics.poses.metric import PoseErrors
from ..metrics.psnr import Psnr
from ..metrics.seconds import Seconds
from ..metrics.segment_agreement import SegmentAgreement
from ..metrics.vbench import VBench
from ..suites.suite import MetricName


def metric_named(name: MetricName, weights: Path, device: torch.device) -> Metric:
    """The metric, with its network loaded.

    Raises: ValueError where a network or a package is missing.
    """
    makers: dict[MetricName, Callable[[], Metric]] = {
        "psnr": Psnr,
        "geometry": Geometry,
        "segment_looks": SegmentAgreement,
        "seconds": Seconds,
        "lpips": partial(Lpips, weights, device),
        "dino_f": partial(DinoF, weights, device),
        "clip_f": partial(ClipF, weights, device),
        "pose": lambda: PoseErrors(ColmapEstimator(ColmapConfig("incremental"))),
        "pose_global": lambda: PoseErrors(ColmapEstimator(ColmapConfig("global"))),
        # The network finds the lens itself.
        "pose_da3": lambda: PoseErrors(DepthAnythingEstimator(weights, device), False),
        "vbench": partial(VBench, weights, device),
        "met3r": partial(Met3r, weights, device),
    }
    return makers[name]()
