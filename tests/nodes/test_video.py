"""DemoScene and FitVideo: clips that always work, and what was done to those of users."""

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.projection import warp_by_rotation
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix

LENS = intrinsics_matrix(0.8660254, 0.8660254)


def scene(comfy_api, **changes):
    from memory_v2v.nodes.video import DemoScene

    return comfy_api.run_node(DemoScene, **{"scene": 3, "num_frames": 3, "size": 64, "drift_deg": 3.0, **changes}).args


def fit(comfy_api, frames: torch.Tensor, **changes):
    from memory_v2v.nodes.video import FitVideo

    sizes = {"num_frames": 5, "width": 32, "height": 32, "temporal_ratio": 1, **changes}
    return comfy_api.run_node(FitVideo, frames=frames, **sizes).args


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, 3), LENS)


def test_scene_is_a_clip_with_its_camera(comfy_api) -> None:
    frames, camera = scene(comfy_api)
    assert frames.shape == (3, 64, 64, 3) and camera.num_frames == 3
    assert torch.equal(camera.c2w[0], torch.eye(4, dtype=torch.float64))
    assert torch.equal(scene(comfy_api)[0], frames)
    assert not torch.equal(scene(comfy_api, scene=4)[0], frames)


def test_a_camera_gives_the_truth_of_the_same_scene(comfy_api) -> None:
    frames, camera = scene(comfy_api)
    asked = path("pan_right", 20.0)
    truth, given = scene(comfy_api, camera=asked)
    assert given is asked
    warped, known = warp_by_rotation(frames.movedim(-1, 1), camera, asked)
    assert ((warped - truth.movedim(-1, 1)).abs() * known).sum() / (3 * known.sum()) < 0.02


def test_a_camera_that_the_scene_cannot_show_is_refused(comfy_api) -> None:
    with pytest.raises(ValueError, match="camera got 1 pose units away from the scene's centre, wanted 0"):
        scene(comfy_api, camera=path("dolly_in", 1.0))
    with pytest.raises(ValueError, match="degrees to the side.*wanted at most 110 and 75"):
        scene(comfy_api, camera=path("pan_left", 100.0))


def test_fit_picks_frames_evenly_and_crops_to_the_middle(comfy_api) -> None:
    frames = (torch.arange(9.0) / 8)[:, None, None, None].expand(9, 64, 96, 3).clone()
    frames[:, :, :16] = 9.0  # the margin that a square crop of 96 x 64 cuts away
    fitted, num_frames, report = fit(comfy_api, frames)
    assert fitted.shape == (5, 32, 32, 3) and num_frames == 5
    assert torch.allclose(fitted[:, 0, 16, 0], torch.tensor([0, 0.25, 0.5, 0.75, 1.0]), atol=1e-3)
    assert "9 frames of 96x64: 5 picked evenly" in report and "cropped to 32x32" in report


def test_fit_pads_to_the_ratio_and_says_so(comfy_api) -> None:
    fitted, num_frames, report = fit(comfy_api, torch.rand(9, 32, 32, 3), num_frames=6, temporal_ratio=4)
    assert fitted.shape[0] == 9 and num_frames == 6
    assert torch.equal(fitted[6:], fitted[5:6].expand(3, -1, -1, -1))
    assert "the last frame is held 3 times more" in report
