import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.resampling import fill_gaps, resample_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, pose_vectors


def path(num_frames: int) -> CameraTrajectory:
    pan = make_preset(PresetConfig("pan_left", 60.0, num_frames, easing="linear"))
    return combine_paths(
        make_preset(PresetConfig("dolly_in", 2.0, num_frames, easing="linear")), pan
    )


@pytest.mark.parametrize("num_frames", [1, 2, 5, 7, 9, 33])
def test_even_moves_resample_to_the_same_move(num_frames: int):
    resampled = resample_trajectory(path(9), num_frames)
    expected = path(num_frames)
    assert torch.allclose(resampled.c2w, expected.c2w, atol=1e-8)
    assert torch.allclose(resampled.intrinsics, expected.intrinsics)


def test_frames_on_old_frames_keep_their_matrix_bit_for_bit():
    rounded = CameraTrajectory(torch.round(path(5).c2w, decimals=4), path(5).intrinsics)
    assert torch.equal(resample_trajectory(rounded, 9).c2w[::2], rounded.c2w)
    assert torch.equal(resample_trajectory(rounded, 5).c2w, rounded.c2w)


def test_a_mirrored_world_gives_the_same_relative_poses():
    mirror = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    mirrored = resample_trajectory(CameraTrajectory(mirror @ path(5).c2w, path(5).intrinsics), 13)
    plain = resample_trajectory(path(5), 13)
    assert torch.allclose(
        torch.linalg.det(mirrored.c2w[:, :3, :3]), -torch.ones(13, dtype=torch.float64)
    )
    assert torch.allclose(pose_vectors(mirrored, mirrored), pose_vectors(plain, plain), atol=1e-6)


def test_lenses_change_linearly_and_the_assumption_stays():
    lenses = torch.stack([intrinsics_matrix(1.0, 1.0), intrinsics_matrix(2.0, 3.0)])
    zoom = CameraTrajectory(torch.eye(4).expand(2, 4, 4), lenses, is_assumed=True)
    resampled = resample_trajectory(zoom, 3)
    assert torch.allclose(resampled.intrinsics[1], intrinsics_matrix(1.5, 2.0))
    assert resampled.is_assumed


def test_a_single_camera_repeats():
    assert torch.equal(resample_trajectory(path(1), 4).c2w, path(1).c2w.expand(4, 4, 4))


def test_zero_frames_are_refused():
    with pytest.raises(ValueError, match="num_frames got 0, wanted at least 1"):
        resample_trajectory(path(3), 0)


def test_gaps_are_filled_at_constant_speed_and_known_frames_stay_bit_for_bit():
    known = path(9).frames((0, 1, 5, 8))
    filled = fill_gaps(known, (0, 1, 5, 8))
    assert torch.allclose(filled.c2w, path(9).c2w, atol=1e-8)
    assert torch.equal(filled.c2w[[0, 1, 5, 8]], known.c2w)


@pytest.mark.parametrize("frame_idx", [(0, 1), (1, 2, 3), (0, 2, 2), (0, 3, 1)])
def test_frames_must_ascend_from_zero(frame_idx: tuple[int, ...]):
    with pytest.raises(ValueError, match="frame_idx got .*, wanted 3 ascending frames from 0"):
        fill_gaps(path(3), frame_idx)
