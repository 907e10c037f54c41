import math

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.projection import (
    inside_image,
    pixel_centres,
    pixel_rays,
    project_directions,
    project_points,
    rotation_homography,
    seen_mask,
    unique_cameras,
    warp_by_rotation,
)
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory

WIDE_LENS = intrinsics_matrix(0.8, 1.1, 0.52, 0.47)


def sphere_texture(directions: torch.Tensor) -> torch.Tensor:
    """Smooth colours (..., 3) in 0..1 of unit directions."""
    phases = torch.tensor(
        [[3.0, 1.0, 2.0], [-1.0, 4.0, 1.0], [2.0, -2.0, 3.0]], dtype=torch.float64
    )
    return 0.5 + 0.45 * torch.sin(directions @ phases.T)


def filmed(camera: CameraTrajectory, height: int, width: int) -> torch.Tensor:
    rays = pixel_rays(camera.c2w, camera.intrinsics, height, width)
    return sphere_texture(rays).permute(0, 3, 1, 2)


def moving(
    motion: str, amplitude: float, num_frames: int = 4, lens: torch.Tensor | None = None
) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, num_frames, easing="linear"), lens)


def test_pixel_centres_lie_at_half_pixels():
    centres = pixel_centres(2, 4)
    assert centres.shape == (2, 4, 3)
    assert centres[0, 0].tolist() == [0.125, 0.25, 1.0]
    assert centres[1, 3].tolist() == [0.875, 0.75, 1.0]


def test_rays_point_through_pixel_centres_in_opencv_axes():
    # A one-pixel picture looks along +Z; of 3 x 3 pixels the last looks right and down.
    identity = torch.eye(4, dtype=torch.float64)
    assert pixel_rays(identity, intrinsics_matrix(1.0, 2.0), 1, 1)[0, 0].tolist() == [0.0, 0.0, 1.0]
    rays = pixel_rays(identity, intrinsics_matrix(1.0, 2.0), 3, 3)
    expected = torch.tensor([1 / 3, 1 / 6, 1.0], dtype=torch.float64)
    assert torch.allclose(rays[2, 2], expected / expected.norm())
    assert torch.allclose(rays.norm(dim=-1), torch.ones(3, 3, dtype=torch.float64))


def test_projection_undoes_rays_at_any_depth():
    camera = combine_paths(moving("pan_left", 40.0), moving("dolly_in", 2.0))
    rays = pixel_rays(camera.c2w, WIDE_LENS, 5, 7).flatten(1, 2)
    points = camera.c2w[:, None, :3, 3] + 3.7 * rays
    coordinates, depth = project_points(points, camera.c2w, WIDE_LENS)
    expected = pixel_centres(5, 7)[..., :2].reshape(1, -1, 2).expand_as(coordinates)
    assert torch.allclose(coordinates, expected, atol=1e-12)
    assert (depth > 0).all()
    assert torch.allclose(project_directions(rays, camera.c2w, WIDE_LENS)[0], expected, atol=1e-12)


def test_projection_has_literal_values():
    points = torch.tensor([[0.5, -0.25, 2.0], [0.0, 0.0, -1.0]], dtype=torch.float64)
    coordinates, depth = project_points(
        points, torch.eye(4, dtype=torch.float64), intrinsics_matrix(1.0, 2.0)
    )
    assert coordinates[0].tolist() == [0.75, 0.25]
    assert depth.tolist() == [2.0, -1.0]


def test_inside_image_includes_the_first_border_and_not_the_last():
    coordinates = torch.tensor(
        [[0.0, 0.0], [1.0, 0.5], [0.5, 1.0], [0.999, 0.999], [-1e-12, 0.5], [0.5, 0.5], [0.5, 0.5]]
    )
    depth = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, -1.0])
    assert inside_image(coordinates.double(), depth).tolist() == [
        True,
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_homography_takes_target_coordinates_to_source_coordinates():
    source, target = moving("tilt_up", 25.0, lens=WIDE_LENS), moving("roll_left", 30.0)
    ray = torch.tensor([0.1, -0.2, 1.0], dtype=torch.float64)
    for frame_idx, homography in enumerate(rotation_homography(source, target)):
        in_target, _ = project_directions(
            ray[None], target.c2w[frame_idx], target.intrinsics[frame_idx]
        )
        in_source, _ = project_directions(
            ray[None], source.c2w[frame_idx], source.intrinsics[frame_idx]
        )
        mapped = homography @ torch.cat([in_target[0], torch.ones(1, dtype=torch.float64)])
        assert torch.allclose(mapped[:2] / mapped[2], in_source[0], atol=1e-12)


@pytest.mark.parametrize(
    ("motion", "other"), [("pan_left", "tilt_up"), ("sweep", "roll_right"), ("static", "pan_right")]
)
def test_warp_equals_rendering_of_the_other_view(motion: str, other: str):
    source, target = (
        moving(motion, 20.0),
        combine_paths(moving(other, 15.0), moving("tilt_down", 4.0)),
    )
    warped, is_known = warp_by_rotation(filmed(source, 96, 128), source, target)
    error = (warped - filmed(target, 96, 128)).abs().amax(1, keepdim=True)
    assert is_known.float().mean() > 0.4
    assert float(error[is_known].max()) < 5e-4
    assert (warped.masked_select(~is_known) == 0).all()


def test_warp_error_falls_with_the_square_of_pixel_size():
    source, target = moving("static", 0.0), moving("pan_left", 17.0)
    errors = []
    for size in (48, 96):
        warped, is_known = warp_by_rotation(filmed(source, size, size), source, target)
        errors.append(
            float((warped - filmed(target, size, size)).abs()[is_known.expand_as(warped)].mean())
        )
    assert errors[1] < errors[0] / 3.5


def test_warp_to_the_same_camera_changes_nothing():
    camera = moving("sweep", 30.0, lens=WIDE_LENS)
    video = torch.rand(4, 3, 9, 13, generator=torch.Generator().manual_seed(0))
    warped, is_known = warp_by_rotation(video, camera, camera)
    assert is_known.all()
    assert torch.allclose(warped, video, atol=1e-5)
    assert warped.dtype == video.dtype


def test_warp_by_one_whole_pixel_is_a_shift():
    # The principal point of the other lens lies one of eight pixels further left, so its picture
    # shows one more right.
    video = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    source = static_trajectory(1, intrinsics_matrix(1.0, 1.0, 0.5, 0.5))
    shifted = static_trajectory(1, intrinsics_matrix(1.0, 1.0, 0.5 - 1 / 8, 0.5))
    warped, is_known = warp_by_rotation(video, source, shifted)
    assert torch.allclose(warped[..., :7], video[..., 1:], atol=1e-12)
    assert is_known[0, 0, 0].tolist() == [True] * 7 + [False]


def test_nothing_is_known_of_a_view_backwards():
    turned = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0])).expand(2, 4, 4)
    backwards = CameraTrajectory(turned, static_trajectory(2).intrinsics)
    warped, is_known = warp_by_rotation(torch.ones(2, 3, 6, 6), moving("static", 0.0, 2), backwards)
    assert not is_known.any()
    assert (warped == 0).all()


def test_warp_passes_gradients_to_the_video():
    video = torch.rand(4, 3, 8, 8, requires_grad=True)
    warp_by_rotation(video, moving("static", 0.0), moving("pan_left", 5.0))[0].sum().backward()
    assert video.grad is not None
    assert video.grad.abs().sum() > 0


def test_warp_refuses_cameras_that_do_not_share_a_centre():
    with pytest.raises(ValueError, match="0.5 pose units apart in frame 3"):
        warp_by_rotation(torch.zeros(4, 3, 8, 8), moving("static", 0.0), moving("dolly_in", 0.5))


def test_warp_refuses_another_frame_count():
    with pytest.raises(ValueError, match="got 4 frames, wanted 5"):
        warp_by_rotation(torch.zeros(5, 3, 8, 8), moving("static", 0.0), moving("static", 0.0))


def test_camera_sees_all_of_itself():
    camera = moving("orbit_left", 30.0, lens=WIDE_LENS)
    assert seen_mask(camera, camera, 6, 10).all()


def test_seen_mask_has_the_width_that_the_angle_leaves():
    # Focal length 0.5 widths: half the view is 45 degrees. Turned left by 45, the picture's right
    # half is the seen one.
    lens = intrinsics_matrix(0.5, 0.5)
    viewer = moving("pan_left", 45.0, 2, lens)
    mask = seen_mask(viewer, static_trajectory(3, lens), 1, 8)
    assert mask.shape == (2, 1, 1, 8)
    assert mask.dtype == torch.bool
    assert mask[0, 0, 0].all()
    assert mask[1, 0, 0].tolist() == [False] * 4 + [True] * 4


def test_seen_mask_joins_all_frames_of_the_observers():
    lens = intrinsics_matrix(0.5, 0.5)
    viewer = moving("static", 0.0, 1, lens)
    observers = CameraTrajectory(
        torch.stack([moving("pan_left", 45.0, 2).c2w[1], moving("pan_right", 45.0, 2).c2w[1]]),
        lens.expand(2, 3, 3),
    )
    alone = [seen_mask(viewer, observers.frames((idx,)), 8, 8) for idx in (0, 1)]
    assert not alone[0].all()
    assert not alone[1].all()
    assert torch.equal(seen_mask(viewer, observers, 8, 8), alone[0] | alone[1])


def test_seen_mask_agrees_with_the_warp():
    source, target = moving("static", 0.0, 1), moving("pan_left", 12.0, 2).frames((1,))
    _, is_known = warp_by_rotation(torch.zeros(1, 3, 32, 32), source, target)
    seen = seen_mask(target, source, 32, 32)
    assert (seen | ~is_known).all(), "bilinear support lies inside the view"
    assert math.isclose(float(seen.float().mean()), float(is_known.float().mean()), abs_tol=0.1)


def test_unique_cameras_keeps_first_appearances_in_order():
    path = moving("pan_left", 9.0, 3)
    assert torch.equal(unique_cameras(path.frames((1, 0, 1, 2, 0))).c2w, path.c2w[[1, 0, 2]])
    zoomed = CameraTrajectory(path.c2w[[0, 0]], torch.stack([WIDE_LENS, path.intrinsics[0]]))
    assert unique_cameras(zoomed).num_frames == 2
