import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.projection import pixel_rays
from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics, pose_vectors
from memv2v_core.model.camera_encoder import NUM_RAY_FEATURES, FrameCameras, ray_features


def path(num_frames: int = 3) -> CameraTrajectory:
    turned = make_preset(PresetConfig("pan_left", 30.0, num_frames)).c2w
    turned[:, :3, 3] = torch.arange(3 * num_frames, dtype=torch.float64).view(num_frames, 3)
    return CameraTrajectory(turned, default_intrinsics(num_frames))


def test_poses_are_the_twelve_numbers_relative_to_the_references_first_frame():
    target, source = path().frames((1, 2)), path()
    cameras = FrameCameras.from_trajectory(target, source)
    assert cameras.c2w.shape == (1, 2, 4, 4)
    assert cameras.intrinsics.shape == (1, 2, 3, 3)
    assert cameras.poses().shape == (1, 2, 12)
    assert cameras.poses().dtype == torch.float32
    torch.testing.assert_close(cameras.poses()[0], pose_vectors(target, source))
    identity = FrameCameras.from_trajectory(source, source).poses()[0, 0]
    torch.testing.assert_close(identity, torch.tensor([1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]))


@pytest.mark.parametrize(("kernel", "rows", "columns"), [(2, 4, 6), (4, 2, 3)])
def test_rays_go_through_the_centres_of_tokens(kernel: int, rows: int, columns: int):
    cameras = FrameCameras.from_trajectory(path(), path())
    features = ray_features(cameras, rows, columns, kernel, height=8, width=12)
    assert features.shape == (1, 3 * rows * columns, NUM_RAY_FEATURES)
    expected = pixel_rays(cameras.c2w, cameras.intrinsics, rows, columns).reshape(
        1, -1, 3
    )  # tokens tile the image
    torch.testing.assert_close(features[..., :3], expected, atol=1e-6, rtol=0)


def test_rays_of_padded_tokens_lie_outside_the_image_and_the_others_do_not_move():
    cameras = FrameCameras.from_trajectory(path(1), path(1))
    whole = ray_features(cameras, 2, 2, 8, height=16, width=16)[..., :3]
    padded = ray_features(cameras, 2, 2, 8, height=12, width=16)[..., :3]
    down = padded[0, 2] / padded[0, 2, 2]
    lens = cameras.intrinsics[0, 0]
    assert (lens[1, 1] * down[1] + lens[1, 2]).item() == pytest.approx(
        12 / 12
    )  # centre of rows 8..16 of 12
    torch.testing.assert_close(padded[0, 0, 0] / padded[0, 0, 2], whole[0, 0, 0] / whole[0, 0, 2])


def test_moment_vanishes_at_the_origin_and_knows_where_the_camera_is():
    cameras = FrameCameras.from_trajectory(path(), path())
    features = ray_features(cameras, 2, 2, 4, height=8, width=8)
    moment = features[0, :, -3:].view(3, 4, 3)
    assert moment[0].abs().max() == 0
    direction, centre = features[0, 4, :3], cameras.c2w[0, 1, :3, 3]
    torch.testing.assert_close(moment[1, 0], torch.linalg.cross(centre, direction))


def test_two_tokens_that_see_one_place_from_one_centre_have_one_direction():
    turned = make_preset(PresetConfig("pan_left", 0.0, 1))
    roll = turned.c2w.clone()
    roll[0, :2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    square = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])[None]
    upright = FrameCameras(turned.c2w[None].float(), square[None])
    rolled = FrameCameras(roll[None].float(), square[None])
    one = ray_features(upright, 2, 2, 4, 8, 8)[0, :, :3]
    other = ray_features(rolled, 2, 2, 4, 8, 8)[0, :, :3]
    torch.testing.assert_close(other[[2, 0, 3, 1]], one, atol=1e-6, rtol=0)
