"""Structure from motion finds the camera of a rendered clip, and says so where it cannot."""

import math
import sys
from functools import lru_cache
from types import ModuleType

import pytest
import torch
from torch.nn import functional

from memv2v_core.cameras.projection import pixel_rays
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix
from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.metrics.poses.colmap import ColmapConfig, ColmapEstimator
from memv2v_core.evaluation.metrics.poses.metric import PoseErrors

HEIGHT, WIDTH = 240, 320
# Half the size of the room in which the camera stands, in pose units.
ROOM = (3.0, 2.0, 3.0)
# Resolution of each random texture in the room, how it is read, and its share: smooth colours,
# blocks with corners, fine grain.
TEXTURES = ((12, "bilinear", 0.4), (40, "nearest", 0.3), (90, "bilinear", 0.3))


def camera_path(num_frames: int, turn_deg: float, length: float) -> CameraTrajectory:
    """A turn about +Y with a bent way of about `length`, through a lens of 58 degrees."""
    progress = torch.linspace(0, 1, num_frames, dtype=torch.float64)
    angle = progress * math.radians(turn_deg)
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, 0, 0] = c2w[:, 2, 2] = angle.cos()
    c2w[:, 0, 2], c2w[:, 2, 0] = angle.sin(), -angle.sin()
    way = torch.stack([-progress, 0.3 * (3 * progress).sin(), 0.4 * progress], dim=-1)
    c2w[:, :3, 3] = length * way
    lens = intrinsics_matrix(0.9, 0.9 * WIDTH / HEIGHT)
    return CameraTrajectory(c2w, lens.repeat(num_frames, 1, 1))


def film(camera: CameraTrajectory, noise: float = 0.0) -> torch.Tensor:
    """The inside of a box with a solid random texture, (F, 3, H, W), two rays a pixel and axis."""
    generator = torch.Generator().manual_seed(3)
    textures = [torch.rand(1, 3, n, n, n, generator=generator) for n, _, _ in TEXTURES]
    half_size = torch.tensor(ROOM, dtype=torch.float64)
    frames = []
    for c2w, lens in zip(camera.c2w, camera.intrinsics, strict=True):
        rays = pixel_rays(c2w, lens, 2 * HEIGHT, 2 * WIDTH)
        # The nearest of the three walls that each ray runs towards.
        distance = ((half_size * rays.sign() - c2w[:3, 3]) / rays).amin(-1, keepdim=True)
        points = (c2w[:3, 3] + distance * rays).float()[None, None] / (max(ROOM) + 0.05)
        picture = sum(
            share * functional.grid_sample(texture, points, mode=mode, align_corners=False)
            for texture, (_, mode, share) in zip(textures, TEXTURES, strict=True)
        )  # (1, 3, 1, 2 H, 2 W)
        frames.append(functional.avg_pool2d(picture[:, :, 0], 2)[0])
    video = torch.stack(frames)
    return (video + noise * torch.randn(video.shape, generator=generator)).clamp(0, 1)


@lru_cache
def _moving_clip() -> tuple[torch.Tensor, CameraTrajectory]:
    camera = camera_path(num_frames=12, turn_deg=12.0, length=1.0)
    return film(camera), camera


@lru_cache
def _turning_clip() -> tuple[torch.Tensor, CameraTrajectory]:
    camera = camera_path(num_frames=6, turn_deg=18.0, length=0.0)
    return film(camera, noise=0.02), camera


def estimator(config: ColmapConfig | None = None) -> ColmapEstimator:
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    return ColmapEstimator(config)


@pytest.mark.parametrize(
    ("mapping", "is_lens_known", "max_exhaustive"),
    [("incremental", True, 100), ("global", True, 100), ("global", False, 0)],
)
def test_the_path_of_a_rendered_clip_is_found(
    mapping: str, is_lens_known: bool, max_exhaustive: int
) -> None:
    video, camera = _moving_clip()
    config = ColmapConfig(mapping, max_exhaustive_frames=max_exhaustive)
    metric = PoseErrors(estimator(config), is_lens_known)
    row = metric(Batch(video[None], cameras=[camera]))[0].tolist()
    numbers = dict(zip([column.name for column in metric.columns], row, strict=True))
    print(mapping, "known lens" if is_lens_known else "unknown lens", numbers)
    assert numbers["posed frames"] == 100
    assert numbers["RotErr"] < 0.5
    assert numbers["TransErr"] < 2
    # The sums of CamI2V say the same: the first of 12 frames has no error.
    assert numbers["RotErr CamI2V"] == pytest.approx(11 * math.radians(numbers["RotErr"]))
    assert numbers["TransErr CamI2V"] < 12 * 0.02
    assert numbers["CamMC CamI2V"] < 12 * 0.03


@pytest.mark.parametrize("mapping", ["incremental", "global"])
def test_a_camera_that_only_turns_gets_no_poses(mapping: str) -> None:
    """Global mapping alone would pose all 6 frames here, by a handful of points."""
    video, camera = _turning_clip()
    estimated = estimator(ColmapConfig(mapping))(video, camera.intrinsics)
    assert not estimated.is_posed.any()
    assert torch.equal(estimated.c2w, torch.eye(4, dtype=torch.float64).expand(6, 4, 4))


@pytest.mark.parametrize("mapping", ["incremental", "global"])
def test_one_seed_gives_the_same_poses(mapping: str) -> None:
    video, camera = _moving_clip()
    video, lens = video[::3], camera.intrinsics[::3]
    runs = [estimator(ColmapConfig(mapping, seed=5))(video, lens) for _ in range(2)]
    assert runs[0].is_posed.all()
    assert torch.equal(runs[0].c2w, runs[1].c2w)


@pytest.mark.parametrize("mapping", ["incremental", "global"])
@pytest.mark.parametrize("num_frames", [0, 2, 4])
def test_a_video_without_anything_to_match_gets_no_poses(mapping: str, num_frames: int) -> None:
    video = torch.full((num_frames, 3, 48, 64), 0.5)
    estimated = estimator(ColmapConfig(mapping))(video, None)
    assert estimated.is_posed.tolist() == [False] * num_frames


def test_the_log_of_colmap_is_left_as_it_was() -> None:
    pycolmap = pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    before = pycolmap.logging.minloglevel
    estimator()(torch.full((3, 3, 48, 64), 0.5), None)
    assert pycolmap.logging.minloglevel == before


def test_a_lens_that_changes_is_refused() -> None:
    camera = camera_path(4, 10.0, 1.0)
    zoom = camera.intrinsics.clone()
    zoom[2, 0, 0] *= 1.1
    with pytest.raises(ValueError, match=r"change of 0.09 image sizes .* wanted one lens"):
        estimator()(torch.zeros(4, 3, 48, 64), zoom)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"video got shape \(4, 48, 64, 3\), wanted \(F, 3, H, W"):
        estimator()(torch.zeros(4, 48, 64, 3), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapping": "both"}, "mapping got 'both', wanted one of"),
        ({"max_exhaustive_frames": -1}, "max_exhaustive_frames got -1, wanted at least 0"),
        ({"seed": -1}, "seed got -1, wanted at least 0"),
        ({"num_threads": 0}, "num_threads got 0, wanted at least 1"),
    ],
)
def test_bad_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColmapConfig(**changes)


def test_a_missing_or_old_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ValueError, match=r"pycolmap, which is not installed; run pip install"):
        ColmapEstimator()
    old = ModuleType("pycolmap")
    old.__version__ = "3.12.5"
    monkeypatch.setitem(sys.modules, "pycolmap", old)
    with pytest.raises(ValueError, match=r"got version 3.12.5, wanted 4.2 or newer"):
        ColmapEstimator()
