"""Camera paths of a clip, for the clip as a model sees it."""

import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.resampling import resample_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics
from memv2v_core.clips.fitted_cameras import fitted_source_path, fitted_target_path
from memv2v_core.clips.fitting import FittingPlan, plan_fitting

WIDE = (90, 160)  # rows and columns


def plan_of(aspect: str, num_frames: int | None = 5, ratio: int = 1) -> FittingPlan:
    return plan_fitting(20, WIDE, (64, 64), num_frames, ratio, aspect)


def pan(num_frames: int, aspect: float = 16 / 9) -> CameraTrajectory:
    config = PresetConfig("pan_left", 30, num_frames, easing="linear")
    return make_preset(config, lens_intrinsics(60, aspect))


def test_a_camera_of_the_clip_gives_the_cameras_of_the_chosen_frames() -> None:
    plan, path = plan_of("stretch"), pan(20)
    fitted = fitted_source_path(path, plan)
    assert torch.equal(fitted.c2w, path.c2w[list(plan.chosen)])
    assert torch.equal(fitted.intrinsics, path.intrinsics[:5])


@pytest.mark.parametrize(
    ("aspect", "fx", "fy"),
    # 60 degrees across: fx 0.866, fy 1.540 of the clip. Cropped to a square, the width loses 7/16;
    # padded to a square, the height grows by 7/9. Sizes are whole pixels.
    [("crop", 0.866 * 114 / 64, 1.540), ("pad", 0.866, 1.540 * 36 / 64)],
)
def test_the_lens_is_that_of_the_fitted_picture(aspect: str, fx: float, fy: float) -> None:
    lens = fitted_source_path(pan(20), plan_of(aspect)).intrinsics[0]
    assert lens[0, 0].item() == pytest.approx(fx, abs=1e-3)
    assert lens[1, 1].item() == pytest.approx(fy, abs=1e-3)
    assert lens[:2, 2].tolist() == [0.5, 0.5]


def test_the_last_camera_is_held_as_the_last_frame_is() -> None:
    plan = plan_of("stretch", 6, ratio=4)
    assert plan.num_frames == 9
    for path in (fitted_source_path(pan(20), plan), fitted_target_path(pan(6), plan)):
        assert path.num_frames == 9
        assert torch.equal(path.c2w[5:], path.c2w[5].expand(4, 4, 4))


def test_a_fitted_camera_stays_as_it_is() -> None:
    plan, path = plan_of("crop"), pan(5, 1.0)
    assert torch.equal(fitted_source_path(path, plan).intrinsics, path.intrinsics)
    assert torch.equal(fitted_target_path(path, plan).c2w, path.c2w)


def test_a_source_camera_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 7 cameras, wanted 20, .* or 5, one for each"):
        fitted_source_path(pan(7), plan_of("crop"))


def test_a_target_of_another_length_is_the_same_move() -> None:
    plan = plan_of("crop")
    fitted = fitted_target_path(pan(9, 1.0), plan)
    assert torch.equal(fitted.c2w, resample_trajectory(pan(9), 5).c2w)
    of_the_clip = fitted_target_path(pan(20), plan)
    assert torch.equal(of_the_clip.c2w, pan(20).c2w[list(plan.chosen)])


def test_a_target_of_another_aspect_keeps_the_middle_of_its_picture() -> None:
    lens = fitted_target_path(pan(5, 16 / 9), plan_of("crop")).intrinsics[0]
    assert lens[0, 0].item() == pytest.approx(lens[1, 1].item())
    assert lens[1, 1].item() == pytest.approx(1.540, abs=1e-3)
