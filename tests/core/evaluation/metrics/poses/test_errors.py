"""RotErr and TransErr against hand calculations, in our convention and in CamI2V's."""

import math

import pytest
import torch

from memv2v_core.cameras.trajectory import CameraTrajectory, default_intrinsics
from memv2v_core.evaluation.metrics.poses.errors import (
    PathErrors,
    path_errors,
    rotation_angles_rad,
    scaled_distances,
)
from memv2v_core.evaluation.metrics.poses.estimator import EstimatedPoses, no_poses

# Turns about +Y in degrees, and centres, of the asked path; the largest distance is 5.
TURNS = (0.0, 10.0, 20.0, 30.0)
CENTRES = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 0.0, 1.0), (3.0, 0.0, 4.0))


def poses(turns: tuple[float, ...], centres: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(turns), 1, 1)
    for frame_idx, angle in enumerate(math.radians(each) for each in turns):
        c2w[frame_idx, 0, 0] = c2w[frame_idx, 2, 2] = math.cos(angle)
        c2w[frame_idx, 0, 2], c2w[frame_idx, 2, 0] = math.sin(angle), -math.sin(angle)
    c2w[:, :3, 3] = torch.tensor(centres, dtype=torch.float64)
    return c2w


def asked(c2w: torch.Tensor) -> CameraTrajectory:
    return CameraTrajectory(c2w, default_intrinsics(len(c2w)))


def found(c2w: torch.Tensor, missing: tuple[int, ...] = ()) -> EstimatedPoses:
    return EstimatedPoses(c2w, torch.tensor([f not in missing for f in range(len(c2w))]))


ASKED = asked(poses(TURNS, CENTRES))
NAMES = tuple(PathErrors.__dataclass_fields__)


def test_the_asked_path_itself_has_no_error() -> None:
    errors = path_errors(found(ASKED.c2w), ASKED)
    assert errors.posed_percent == 100
    assert [getattr(errors, name) for name in NAMES[1:]] == pytest.approx([0] * 5, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, math.pi / 2, 3.0, math.pi - 1e-9, math.pi])
def test_angles_are_exact_from_nothing_to_half_a_turn(angle: float) -> None:
    axis = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
    cross = torch.linalg.cross(
        axis.expand(3, 3), torch.eye(3, dtype=torch.float64), dim=-1
    ).T  # (3, 3)
    turn = torch.linalg.matrix_exp(angle * cross)
    base = poses((37.0,), ((0.0, 0.0, 0.0),))[0, :3, :3]
    assert float(rotation_angles_rad(turn @ base, base)) == pytest.approx(angle, abs=1e-14)


def test_rotation_error_is_the_mean_angle_after_the_first_frame() -> None:
    # Angles between the paths: 0, 1, 2 and 6 degrees; the mean of the last three is 3.
    errors = path_errors(found(poses((0.0, 11.0, 18.0, 36.0), CENTRES)), ASKED)
    assert errors.rotation_deg == pytest.approx(3.0, abs=1e-10)
    assert errors.cami2v_rotation_rad == pytest.approx(math.radians(9.0), abs=1e-12)
    assert errors.translation_percent == pytest.approx(0.0, abs=1e-10)


def test_translation_error_by_hand() -> None:
    """The asked path goes 1, 2, ..., the found one only half as far and sideways at its end."""
    wanted = poses((0.0,) * 3, ((0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 0.0, 4.0)))
    path = poses((0.0,) * 3, ((0.0, 0.0, 0.0), (0.0, 0.0, 1.5), (1.0, 0.0, 2.0)))
    errors = path_errors(found(path), asked(wanted))
    # Scale (3 * 1.5 + 4 * 2) / (1.5^2 + 1 + 2^2) = 12.5 / 7.25 = 50 / 29.
    # Frame 1: 3 - 75/29 = 12/29. Frame 2: (50/29, 4 - 100/29) = (50, 16) / 29.
    distance = (12 + math.hypot(50, 16)) / 29 / 2
    assert errors.translation_percent == pytest.approx(100 * distance / 4, abs=1e-10)


def test_cami2v_sums_by_hand() -> None:
    """Each path divided by its own longest distance, then summed."""
    wanted = poses((0.0,) * 3, ((0.0, 0.0, 0.0), (0.0, 0.0, 3.0), (0.0, 0.0, 4.0)))
    path = poses((0.0, 0.0, 90.0), ((0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (6.0, 0.0, 8.0)))
    errors = path_errors(found(path), asked(wanted))
    # Asked: (0, 0, .75), (0, 0, 1). Found, divided by 10: (.3, 0, 0), (.6, 0, .8).
    first, last = math.hypot(0.3, 0.75), math.hypot(0.6, 0.2)
    assert errors.cami2v_translation == pytest.approx(first + last, abs=1e-8)
    # A quarter turn about Y differs from none in four numbers, each by 1.
    assert errors.cami2v_motion == pytest.approx(first + math.sqrt(last**2 + 4), abs=1e-8)
    assert errors.cami2v_rotation_rad == pytest.approx(math.pi / 2, abs=1e-12)


def test_scale_and_world_of_the_estimate_do_not_matter() -> None:
    path = poses(
        (0.0, 12.0, 19.0, 33.0),
        ((0.0, 0.0, 0.0), (1.0, 0.3, 0.0), (2.0, 0.0, 1.2), (3.0, 0.1, 4.0)),
    )
    world = poses((71.0,), ((5.0, -3.0, 2.0),))[0]
    scaled = path.clone()
    scaled[:, :3, 3] *= 0.037
    plain, moved = path_errors(found(path), ASKED), path_errors(found(world @ scaled), ASKED)
    for name in NAMES:
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-6)
    assert plain.translation_percent > 1


def test_more_noise_is_more_error() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    errors = []
    for size in (0.0, 0.05, 0.2, 0.8):
        turns = tuple(t + 10 * size * float(n) for t, n in zip(TURNS, noise[:, 0], strict=True))
        path = poses(turns, CENTRES)
        path[:, :3, 3] += size * noise
        errors.append(path_errors(found(path), ASKED))
    for name in NAMES[1:]:
        values = [getattr(each, name) for each in errors]
        assert values == sorted(values)
        assert values[-1] > values[1] > 0


def test_a_path_against_the_asked_one_is_measured_as_a_still_one() -> None:
    wanted = torch.tensor(CENTRES, dtype=torch.float64)
    lengths = wanted.norm(dim=-1)
    assert torch.equal(scaled_distances(-wanted, wanted), lengths)
    assert torch.equal(scaled_distances(torch.zeros_like(wanted), wanted), lengths)


def test_a_path_without_translation_has_a_rotation_error_alone() -> None:
    still = ((1.0, 2.0, 3.0),) * 4
    errors = path_errors(found(poses((0.0, 13.0, 20.0, 30.0), CENTRES)), asked(poses(TURNS, still)))
    assert errors.rotation_deg == pytest.approx(1.0)
    assert errors.cami2v_rotation_rad == pytest.approx(math.radians(3.0))
    assert math.isnan(errors.translation_percent)
    assert math.isnan(errors.cami2v_translation)
    assert math.isnan(errors.cami2v_motion)


def test_frames_without_a_pose_are_counted_and_left_out() -> None:
    path = poses((0.0, 90.0, 20.0, 34.0), CENTRES)
    errors = path_errors(found(path, missing=(1,)), ASKED)
    assert errors.posed_percent == 75
    assert errors.rotation_deg == pytest.approx(2.0)  # 0 and 4 degrees
    assert errors.translation_percent == pytest.approx(0.0, abs=1e-10)
    # A sum over fewer frames would look better than it is.
    assert math.isnan(errors.cami2v_rotation_rad)
    assert math.isnan(errors.cami2v_translation)
    assert math.isnan(errors.cami2v_motion)


def test_a_missing_first_frame_moves_the_start_and_not_the_size_of_the_path() -> None:
    path = ASKED.c2w.clone()
    path[0] = math.nan
    path[3, :3, 3] += torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    errors = path_errors(found(path, missing=(0,)), ASKED)
    assert errors.rotation_deg == pytest.approx(0.0, abs=1e-10)
    # From frame 1 on: asked (1, 0, 1) and (2, 0, 4), found with (2, 1, 4), turned alike.
    scale = 22 / 23
    distances = (1 - scale) * math.sqrt(2) + math.sqrt(20 * (1 - scale) ** 2 + scale**2)
    assert errors.translation_percent == pytest.approx(100 * distances / 2 / 5, abs=1e-8)


@pytest.mark.parametrize("num_posed", [0, 1])
def test_fewer_than_two_poses_have_no_errors(num_posed: int) -> None:
    errors = path_errors(found(ASKED.c2w, missing=tuple(range(num_posed, 4))), ASKED)
    assert errors.posed_percent == 25 * num_posed
    assert all(math.isnan(getattr(errors, name)) for name in NAMES[1:])


def test_paths_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="video to measure got 4 frames, wanted 3"):
        path_errors(no_poses(3), ASKED)


def test_bad_estimates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"wanted \(F, 4, 4\)"):
        EstimatedPoses(torch.zeros(2, 3, 4), torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"is_posed got shape \(3,\)"):
        EstimatedPoses(torch.zeros(2, 4, 4), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="NaN or infinity in frame 1"):
        found(torch.tensor([0.0, math.nan]).reshape(2, 1, 1).expand(2, 4, 4))
