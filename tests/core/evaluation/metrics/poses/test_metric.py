"""The metric of poses: one row a video, from the camera that belongs to it."""

import math
from dataclasses import replace

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.evaluation.metrics.metric import Batch, Metric
from memv2v_core.evaluation.metrics.poses.estimator import EstimatedPoses, no_poses
from memv2v_core.evaluation.metrics.poses.metric import PoseErrors

NUM_FRAMES = 5
RIGHT = make_preset(PresetConfig("pan_right", 8.0, NUM_FRAMES, easing="linear"))
LEFT = make_preset(PresetConfig("pan_left", 8.0, NUM_FRAMES, easing="linear"))


class Written:
    """Reads the number of a path from the brightness of a video; a black video has no poses."""

    identity = "written"

    def __init__(self, *paths: CameraTrajectory) -> None:
        self.paths = paths
        self.lenses: list[torch.Tensor | None] = []

    def __call__(self, video: torch.Tensor, intrinsics: torch.Tensor | None) -> EstimatedPoses:
        self.lenses.append(intrinsics)
        number = round(float(video.mean()) * 10)
        if number == 0:
            return no_poses(len(video))
        c2w = self.paths[number - 1].c2w
        return EstimatedPoses(c2w, torch.ones(len(c2w), dtype=torch.bool))


def videos(*numbers: int) -> torch.Tensor:
    return torch.stack([torch.full((NUM_FRAMES, 3, 4, 6), number / 10) for number in numbers])


def test_each_video_is_measured_against_its_own_camera() -> None:
    metric: Metric = PoseErrors(Written(RIGHT, LEFT))
    rows = metric(Batch(videos(1, 1, 0), cameras=[RIGHT, LEFT, RIGHT]))
    names = [column.name for column in metric.columns]
    assert rows.shape == (3, len(names))
    assert rows.dtype == torch.float64
    # 0 to 8 degrees one way and the other: apart by 4, 8, 12 and 16 degrees.
    assert rows[:2, names.index("RotErr")].tolist() == pytest.approx([0.0, 10.0], abs=1e-9)
    assert rows[:2, names.index("RotErr CamI2V")].tolist() == pytest.approx(
        [0.0, math.radians(40.0)], abs=1e-9
    )
    assert rows[:, names.index("posed frames")].tolist() == [100, 100, 0]
    # A pan has no translation, and the third video no poses.
    assert rows[:, names.index("TransErr")].isnan().all()
    assert rows[2].isnan().sum() == len(names) - 1


def test_the_asked_lens_is_used_where_it_is_known() -> None:
    written = Written(RIGHT)
    PoseErrors(written)(Batch(videos(1), cameras=[RIGHT]))
    PoseErrors(written, is_lens_known=False)(Batch(videos(1), cameras=[RIGHT]))
    assert written.lenses == [RIGHT.intrinsics, None]


def test_no_video_is_no_row() -> None:
    empty = torch.zeros(0, NUM_FRAMES, 3, 4, 6)
    assert PoseErrors(Written())(Batch(empty, cameras=[])).shape == (0, 6)


def test_missing_and_assumed_cameras_are_refused() -> None:
    metric = PoseErrors(Written(RIGHT))
    with pytest.raises(ValueError, match="cameras got 0 paths, wanted 2"):
        metric(Batch(videos(1, 1)))
    with pytest.raises(ValueError, match="cameras got 1 paths, wanted 2"):
        metric(Batch(videos(1, 1), cameras=[RIGHT]))
    with pytest.raises(ValueError, match="camera of video 1 got an assumed path"):
        metric(Batch(videos(1, 1), cameras=[RIGHT, replace(LEFT, is_assumed=True)]))
    with pytest.raises(ValueError, match="video 0 got 3 frames, wanted 5"):
        metric(Batch(videos(1), cameras=[RIGHT.frames((0, 1, 2))]))
