"""Frames travel to another Python and cameras come back; a small package finds them there.

It has the interface of depth-anything-3 0.1.1 that `scripts/depth_anything_poses.py` uses, and
reads the camera of a frame from its colours. `test_package_interfaces.py` holds that interface
against the real package.
"""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.metrics.poses.depth_anything import (
    PARTS,
    DepthAnythingConfig,
    DepthAnythingEstimator,
    seen_frames,
)
from memv2v_core.evaluation.metrics.poses.metric import PoseErrors
from memv2v_core.evaluation.scoring.metrics_by_name import metric_named

pytestmark = pytest.mark.slow
PythonWith = Callable[[dict[str, str]], Path]
# Red holds a yaw in degrees, green a step to the right in hundredths, blue 255 for no camera.
API = """
import math
from types import SimpleNamespace

import numpy as np
import torch


class DepthAnything3(torch.nn.Module):
    def __init__(self, model_name="da3-large", **kwargs):
        super().__init__()
        assert model_name in ("da3-small", "da3-base")
        self.scale = torch.nn.Parameter(torch.zeros(1))
        self.shared = torch.nn.Parameter(torch.zeros(2))
        self.again = self.shared  # a file of safetensors holds it once

    def inference(self, image, extrinsics=None, intrinsics=None, process_res=504, **kwargs):
        print("inference", len(image), flush=True)
        assert not self.training and process_res == 504 and extrinsics is None
        return SimpleNamespace(extrinsics=np.stack([self._w2c(each) for each in image]))

    def _w2c(self, image):
        assert image.dtype == np.uint8 and image.shape[2] == 3, image.shape
        yaw_deg, right, is_bad = (float(value) for value in image[2, 3])
        yaw = math.radians(yaw_deg)
        c2w = np.eye(4)
        c2w[:3, :3] = [
            [math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]
        ]
        c2w[0, 3] = self.scale.item() * right / 100
        # A world of its own: rolled by a quarter, and moved.
        world = np.array([[0, -1, 0, 5], [1, 0, 0, 7], [0, 0, 1, 9], [0, 0, 0, 1]], np.float64)
        w2c = np.linalg.inv(world @ c2w)[:3].astype(np.float32)
        return np.full_like(w2c, np.nan) if is_bad == 255 else w2c
"""
METADATA = "Metadata-Version: 2.1\nName: depth-anything-3\nVersion: 0.1.1\n"
FILES = {
    "depth_anything_3/__init__.py": "",
    "depth_anything_3/api.py": API,
    "depth_anything_3-0.1.1.dist-info/METADATA": METADATA,
}
TENSORS = {"scale": torch.tensor([3.0]), "shared": torch.zeros(2)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for part in PARTS.values():
        (folder / part.name).mkdir()
        save_file(TENSORS, folder / part.name / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def python(python_with: PythonWith) -> Path:
    return python_with(FILES)


@pytest.fixture(scope="module")
def estimator(weights: Path, python: Path) -> DepthAnythingEstimator:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEMV2V_METRICS_POSE_DA3_PYTHON", str(python))
        return DepthAnythingEstimator(weights)


def film(yaws_deg: list[int], rights: list[int]) -> torch.Tensor:
    """A video (F, 3, 8, 10) whose colours tell its cameras."""
    colours = torch.tensor([[yaw, right, 0] for yaw, right in zip(yaws_deg, rights, strict=True)])
    return (colours.float() / 255)[:, :, None, None].expand(-1, -1, 8, 10).clone()


def path(yaws_deg: list[int], rights: list[int]) -> CameraTrajectory:
    """The cameras that `film` tells of, in units of their own."""
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(yaws_deg), 1, 1)
    for frame, (yaw_deg, right) in enumerate(zip(yaws_deg, rights, strict=True)):
        yaw = math.radians(yaw_deg)
        c2w[frame, 0, [0, 2]] = torch.tensor([math.cos(yaw), math.sin(yaw)]).double()
        c2w[frame, 2, [0, 2]] = torch.tensor([-math.sin(yaw), math.cos(yaw)]).double()
        c2w[frame, 0, 3] = right / 40
    lens = torch.tensor([[1.0, 0, 0.5], [0, 1.25, 0.5], [0, 0, 1]]).double()
    return CameraTrajectory(c2w, lens.expand(len(yaws_deg), 3, 3))


YAWS, RIGHTS = [0, 4, 9, 15, 30], [0, 10, 25, 30, 60]


def test_the_asked_path_is_found_in_another_world_and_scale(
    estimator: DepthAnythingEstimator,
) -> None:
    metric = PoseErrors(estimator, is_lens_known=False)
    video, asked = film(YAWS, RIGHTS), path(YAWS, RIGHTS)
    row = metric(Batch(video[None], cameras=[asked]))[0].tolist()
    assert row[:3] == pytest.approx([0, 0, 100], abs=1e-3)
    assert row[3:] == pytest.approx([0, 0, 0], abs=1e-4)


def test_each_wrong_camera_counts_at_its_frame(estimator: DepthAnythingEstimator) -> None:
    metric = PoseErrors(estimator, is_lens_known=False)
    wrong = film([0, 4, 9, 25, 30], RIGHTS)
    row = metric(Batch(wrong[None], cameras=[path(YAWS, RIGHTS)]))[0].tolist()
    # 10 degrees in one of four frames.
    assert row[0] == pytest.approx(2.5, abs=1e-3)
    assert row[1] == pytest.approx(0, abs=1e-3)
    assert row[3] == pytest.approx(math.radians(10), abs=1e-4)
    shuffled = film(
        [YAWS[idx] for idx in (0, 3, 1, 4, 2)], [RIGHTS[idx] for idx in (0, 3, 1, 4, 2)]
    )
    worse = metric(Batch(shuffled[None], cameras=[path(YAWS, RIGHTS)]))[0]
    assert worse[0].item() == pytest.approx((11 + 5 + 15 + 21) / 4, abs=1e-3)
    assert worse[1].item() > 10


def test_a_camera_that_stands_still_misses_the_whole_way(
    estimator: DepthAnythingEstimator,
) -> None:
    metric = PoseErrors(estimator, is_lens_known=False)
    still = film([0] * 5, [0] * 5)
    row = metric(Batch(still[None], cameras=[path(YAWS, RIGHTS)]))[0].tolist()
    assert row[0] == pytest.approx(sum(YAWS) / 4, abs=1e-3)
    assert row[1] == pytest.approx(100 * sum(RIGHTS) / 4 / 60, abs=1e-3)


def test_matrices_are_camera_to_world(estimator: DepthAnythingEstimator) -> None:
    found = estimator(film([0, 90], [0, 50]), None)
    relative = torch.linalg.inv(found.c2w[0]) @ found.c2w[1]
    # To the right by 3 * 0.5, and looking there.
    assert relative[:3, 3].tolist() == pytest.approx([1.5, 0, 0], abs=1e-5)
    assert relative[:3, 2].tolist() == pytest.approx([1, 0, 0], abs=1e-5)


def test_a_long_video_is_seen_in_part(
    weights: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMV2V_METRICS_POSE_DA3_PYTHON", str(python))
    config = DepthAnythingConfig("da3-small", most_views=3)
    few = DepthAnythingEstimator(weights, config=config)
    assert few(film(YAWS, RIGHTS), None).is_posed.tolist() == [True, False, True, False, True]
    row = PoseErrors(few, False)(Batch(film(YAWS, RIGHTS)[None], cameras=[path(YAWS, RIGHTS)]))[0]
    assert row[:3].tolist() == pytest.approx([0, 0, 60], abs=1e-3)
    assert row[3:].isnan().all()
    default = metric_named("pose_da3", weights, torch.device("cpu"))
    assert "da3-base" in default.identity
    assert few.identity not in default.identity


def test_seen_frames_have_both_ends_and_no_frame_twice() -> None:
    assert seen_frames(5, 5) == [0, 1, 2, 3, 4]
    assert seen_frames(81, 5) == [0, 20, 40, 60, 80]
    for most in range(2, 40):
        seen = seen_frames(40, most)
        assert (seen[0], seen[-1], len(set(seen))) == (0, 39, most)


def test_frames_without_a_finite_camera_are_not_posed(estimator: DepthAnythingEstimator) -> None:
    video = film(YAWS, RIGHTS)
    video[3, 2] = 1.0
    assert estimator(video, None).is_posed.tolist() == [True, True, True, False, True]
    assert not estimator(video[:1], None).is_posed.any()
    video[1, 0, 0, 0] = torch.inf
    assert not estimator(video, None).is_posed.any()
    with pytest.raises(ValueError, match=r"the video got shape \(3, 8, 10\)"):
        estimator(video[0], None)


def test_a_file_that_lacks_a_tensor_is_refused(
    weights: Path, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMV2V_METRICS_POSE_DA3_PYTHON", str(python))
    (tmp_path / "da3-base").mkdir()
    save_file({"shared": torch.zeros(2)}, tmp_path / "da3-base" / "model.safetensors")
    with pytest.raises(ValueError, match="lacks 1 tensors of da3-base, such as scale"):
        DepthAnythingEstimator(tmp_path)
    with pytest.raises(ValueError, match=r"da3-small lacks model.safetensors .*\(137 MB\)"):
        DepthAnythingEstimator(tmp_path, config=DepthAnythingConfig("da3-small"))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": "da3-giant"}, "model got 'da3-giant', wanted one of"),
        ({"most_views": 1}, "most_views got 1, wanted at least 2"),
        ({"size": 13}, "size got 13, wanted at least 14"),
    ],
)
def test_a_config_names_its_bad_value(wrong: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DepthAnythingConfig(**wrong)
