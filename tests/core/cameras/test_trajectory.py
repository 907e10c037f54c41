"""The camera convention's own value."""

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, lens_intrinsics


def test_a_crop_keeps_what_is_left_in_its_place():
    # 200 x 100 pixels, fx = fy = 100, centre (90, 50). The middle 100 columns begin at 50.
    lens = intrinsics_matrix(0.5, 1.0, 0.45, 0.5)
    path = make_preset(PresetConfig(num_frames=3), lens)
    square = path.cropped_to(1.0).intrinsics[2]
    assert torch.allclose(square, intrinsics_matrix(1.0, 1.0, 0.4, 0.5))
    # 200 x 50 pixels: rows 25 to 75.
    wide = path.cropped_to(4.0).intrinsics[0]
    assert torch.allclose(wide, intrinsics_matrix(0.5, 2.0, 0.45, 0.5))


@pytest.mark.parametrize("aspect", [832 / 480, 1280 / 736])
def test_a_picture_that_was_only_scaled_keeps_its_lens(aspect: float):
    path = make_preset(PresetConfig(num_frames=2), lens_intrinsics(60.0, 832 / 480))
    assert path.cropped_to(aspect) is path


def test_numbers_that_are_not_finite_are_named():
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[1, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="c2w got NaN or infinity in frame 1"):
        CameraTrajectory(c2w, intrinsics_matrix(1.0, 1.0).repeat(2, 1, 1))
