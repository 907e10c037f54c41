"""Agreement between turns: exact where it must be exact, blind where nothing can be known."""

import math
from functools import lru_cache

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, combine_paths, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.evaluation.metrics.consistency import (
    centre_distance,
    gradient_magnitude,
    masked_mae,
    masked_psnr,
    turn_disagreement,
    unseen_region,
)
from memv2v_core.synthetic.panoramas import Scene, SceneConfig, make_scene, render_panorama

NUM_FRAMES, SIDE = 5, 48
LENS = intrinsics_matrix(0.8660254, 0.8660254)
SOURCE = static_trajectory(NUM_FRAMES, LENS)


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, NUM_FRAMES), LENS)


def film(camera: CameraTrajectory) -> torch.Tensor:
    return render_panorama(_scene(), camera, SIDE, SIDE)


@lru_cache
def _scene() -> Scene:
    config = SceneConfig(num_shapes=24, panorama_width=384)
    return make_scene(config, torch.Generator().manual_seed(5))


def test_two_true_views_of_one_scene_agree() -> None:
    a, b = path("pan_right", 40), combine_paths(path("pan_right", 30), path("tilt_up", 8))
    result = turn_disagreement(film(a), a, film(b), b, SOURCE)
    assert result.num_pixels > 300
    assert result.mae < 0.02
    assert result.psnr > 25
    assert result.heat_map.shape == result.mask.shape == (NUM_FRAMES, 1, SIDE, SIDE)


def test_a_known_offset_in_the_region_is_measured_exactly() -> None:
    a = path("pan_right", 40)
    video = film(a) * 0.5
    result = turn_disagreement(video, a, video + 0.25, a, SOURCE)
    assert result.mae == pytest.approx(0.25, abs=1e-6)
    assert result.psnr == pytest.approx(-20 * math.log10(0.25), abs=1e-4)
    assert torch.allclose(result.heat_map[result.mask], torch.tensor(0.25), atol=1e-6)
    assert (result.heat_map[~result.mask] == 0).all()


def test_differences_where_the_source_looked_do_not_count() -> None:
    a = path("pan_right", 40)
    video = film(a)
    seen = ~unseen_region(a, SOURCE, SIDE, SIDE)
    result = turn_disagreement(video, a, torch.where(seen, 1 - video, video), a, SOURCE)
    assert result.mae < 1e-6
    assert turn_disagreement(video, a, torch.where(seen, 1 - video, video), a).mae > 0.1


def test_region_of_a_pan_has_the_size_that_geometry_says() -> None:
    # A 60 degree lens turned right by 30: everything right of the centre is new.
    a = path("pan_right", 30)
    region = unseen_region(a, SOURCE, SIDE, SIDE)[-1, 0]
    middle = region[SIDE // 2]
    assert middle.tolist() == [False] * (SIDE // 2) + [True] * (SIDE // 2)
    assert not unseen_region(a, SOURCE, SIDE, SIDE)[0].any()


def test_views_apart_share_no_region() -> None:
    a, b = path("pan_right", 45), path("pan_left", 45)
    result = turn_disagreement(film(a), a, film(b), b, SOURCE)
    assert result.num_pixels == 0
    assert math.isnan(result.mae)
    assert math.isnan(result.psnr)


def test_moving_cameras_are_refused() -> None:
    a, b = path("pan_right", 30), path("orbit_left", 30)
    with pytest.raises(ValueError, match="centres got .* pose units apart"):
        turn_disagreement(film(a), a, film(a), b, SOURCE)
    with pytest.raises(ValueError, match="turn and source cameras"):
        unseen_region(b, SOURCE, SIDE, SIDE)
    assert centre_distance(a, SOURCE) == 0
    assert centre_distance(b, SOURCE) == pytest.approx(2 * math.sin(math.radians(15)), abs=1e-9)


def test_other_sizes_and_lengths_are_refused() -> None:
    a = path("pan_right", 30)
    with pytest.raises(ValueError, match=r"shapes \(5, 3, 48, 48\) and \(4, 3, 48, 48\)"):
        turn_disagreement(film(a), a, film(a)[:4], a, SOURCE)


def test_masked_measures_read_the_mask_alone() -> None:
    video, reference = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    video[..., 0, 0], video[..., 1, 1] = 0.5, 9.0
    mask = torch.tensor([[[[True, True], [False, False]]]])
    assert masked_mae(video, reference, mask) == pytest.approx(0.25)
    assert masked_psnr(video, reference, mask) == pytest.approx(-10 * math.log10(0.125))
    assert masked_psnr(reference, reference, mask) == math.inf
    assert math.isnan(masked_mae(video, reference, torch.zeros_like(mask)))


def test_gradient_magnitude_of_a_ramp_is_its_slope_and_blur_lowers_it() -> None:
    ramp = (torch.arange(8.0) * 0.1).expand(1, 3, 8, 8)
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert gradient_magnitude(ramp, everywhere) == pytest.approx(0.1, abs=1e-6)
    video = film(SOURCE)
    blurred = torch.nn.functional.avg_pool2d(video, 5, 1, 2, count_include_pad=False)
    mask = torch.ones(NUM_FRAMES, 1, SIDE, SIDE, dtype=torch.bool)
    assert gradient_magnitude(blurred, mask) < 0.9 * gradient_magnitude(video, mask)


def test_gradient_magnitude_ignores_steps_across_the_mask() -> None:
    video = torch.zeros(1, 3, 6, 6)
    video[..., 3:] = 1.0
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    mask[..., :3] = True
    assert gradient_magnitude(video, mask) == 0.0
