"""A clip's camera from estimated views of it."""

import math
from dataclasses import replace

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, lens_intrinsics
from memv2v_core.cameras.views import EstimatedViews, frames_of_views, trajectory_of_views

NUM_FRAMES = 9
LENS = lens_intrinsics(70.0, 1.5)


def clip(num_frames: int = NUM_FRAMES) -> torch.Tensor:
    """Frames of different greys (F, 20, 30, 3)."""
    return (torch.arange(num_frames) / 20.0)[:, None, None, None].expand(-1, 20, 30, 3).clone()


def path(num_frames: int = NUM_FRAMES) -> CameraTrajectory:
    return combine_paths(
        make_preset(PresetConfig("dolly_in", 4.0, num_frames, easing="linear"), LENS),
        make_preset(PresetConfig("pan_right", 40.0, num_frames, easing="linear"), LENS),
    )


def views(*frame_idx: int) -> EstimatedViews:
    """The right views of these frames, in a world of their own."""
    chosen = path().frames(frame_idx)
    world = make_preset(PresetConfig("orbit_left", 50.0, 2)).c2w[1]
    return EstimatedViews(
        torch.linalg.inv(world @ chosen.c2w), chosen.intrinsics, clip()[list(frame_idx)]
    )


@pytest.mark.parametrize("frame_idx", [tuple(range(9)), (0, 4, 8), (0, 1, 5, 8), (0, 8)])
def test_the_path_is_relative_to_the_first_frame_and_filled(frame_idx: tuple[int, ...]):
    found = trajectory_of_views(views(*frame_idx), clip())
    assert torch.allclose(found.c2w, path().c2w, atol=1e-7)
    assert torch.allclose(found.intrinsics, path().intrinsics)


def test_scale_multiplies_how_far_the_camera_moves():
    found = trajectory_of_views(views(0, 4, 8), clip(), scale=2.5)
    assert found.c2w[8, 2, 3] == pytest.approx(10.0)
    assert torch.allclose(found.c2w[:, :3, :3], path().c2w[:, :3, :3], atol=1e-7)


def test_one_lens_is_the_median():
    lenses = torch.stack([intrinsics_matrix(f, f) for f in (1.0, 1.1, 3.0)])
    zoomed = replace(views(0, 4, 8), intrinsics=lenses)
    assert trajectory_of_views(zoomed, clip()).intrinsics[:, 0, 0].tolist() == [1.1] * 9
    own = trajectory_of_views(zoomed, clip(), has_one_lens=False).intrinsics[:, 0, 0].tolist()
    assert own[:5] == pytest.approx([1.0, 1.025, 1.05, 1.075, 1.1])
    assert own[8] == 3.0


def test_frames_that_stand_still_are_not_mistaken_for_each_other():
    frozen = clip()
    frozen[:5] = frozen[0]
    assert frames_of_views(frozen[[0, 4, 8]], frozen) == (0, 4, 8)


def test_rotations_in_16_bits_become_exact():
    rounded = replace(views(0, 4, 8), w2c=views(0, 4, 8).w2c.to(torch.bfloat16))
    found = trajectory_of_views(rounded, clip())
    rotation = found.c2w[:, :3, :3]
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    assert torch.allclose(rotation @ rotation.mT, eye, atol=1e-12)
    assert torch.allclose(found.c2w[:, :3, :3], path().c2w[:, :3, :3], atol=0.02)


def broken(view_idx: int, value: float, row: int, column: int) -> EstimatedViews:
    result = views(0, 4, 8)
    w2c = result.w2c.clone()
    w2c[view_idx, row, column] = value
    return replace(result, w2c=w2c)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (views(1, 4, 8), "the views got frames 1 to 8, wanted 0 to 8, the whole clip"),
        (views(0, 4, 7), "the views got frames 0 to 7, wanted 0 to 8"),
        (views(0, 8, 4), "view 2 got a picture that is no frame of the clip after frame 8"),
        (replace(views(0, 8), pictures=torch.ones(2, 20, 30, 3)), "view 0 got a picture that is"),
        (replace(views(0, 8), pictures=torch.ones(2, 9, 9, 3)), r"shape \(2, 9, 9, 3\), wanted"),
        (broken(1, math.nan, 0, 3), "the camera of view 1 got NaN or infinity"),
        (broken(2, 3.0, 0, 0), "the camera of view 2 got a scaled, sheared or mirrored matrix"),
        (
            replace(views(0, 4, 8), w2c=views(0, 4, 8).w2c * torch.tensor([-1.0, 1, 1, 1])),
            "the camera of view 0 got a scaled, sheared or mirrored matrix",
        ),
        (
            replace(views(0, 8), intrinsics=intrinsics_matrix(1e6, 1.0).repeat(2, 1, 1)),
            "the lens of view 0 got 0.0 x 53.1 degrees, wanted 2 to 170",
        ),
        (
            replace(views(0, 8), intrinsics=torch.full((2, 3, 3), torch.nan)),
            "the lens of view 0 got nan x nan degrees",
        ),
    ],
)
def test_what_is_no_view_of_the_clip_is_named(given: EstimatedViews, message: str):
    with pytest.raises(ValueError, match=message):
        trajectory_of_views(given, clip())
