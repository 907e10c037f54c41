"""Fitting a clip to a model and putting the edit back: exact counts, exact pixels where nothing was
scaled.
"""

import itertools

import pytest
import torch

from memv2v_core.clips.fitting import (
    describe_fitting,
    fit_frames,
    nearest_edited,
    plan_fitting,
    restore_frames,
)


def clip(num_frames: int, rows: int, columns: int) -> torch.Tensor:
    return torch.rand(
        num_frames, 3, rows, columns, generator=torch.Generator().manual_seed(num_frames)
    )


@pytest.mark.parametrize("temporal_ratio", [1, 4, 8])
@pytest.mark.parametrize("num_source", [1, 2, 4, 5, 16, 17, 81, 82])
def test_every_frame_comes_back_bit_equal(num_source: int, temporal_ratio: int) -> None:
    frames = clip(num_source, 16, 32)
    plan = plan_fitting(num_source, (16, 32), (16, 32), None, temporal_ratio, "crop")
    fitted = fit_frames(frames, plan)
    assert (len(fitted) - 1) % temporal_ratio == 0
    assert 0 <= len(fitted) - num_source < temporal_ratio
    assert torch.equal(restore_frames(fitted, plan, every_frame=True, original_size=False), frames)


@pytest.mark.parametrize(("num_source", "num_frames"), [(1, 5), (7, 5), (81, 9), (100, 81), (3, 9)])
def test_picked_frames_are_held_to_exactly_the_count_that_came_in(
    num_source: int, num_frames: int
) -> None:
    plan = plan_fitting(num_source, (16, 16), (16, 16), num_frames, 4, "crop")
    frames = (torch.arange(num_source) / 128)[:, None, None, None].expand(-1, 3, 16, 16)
    fitted = fit_frames(frames, plan)
    held = restore_frames(fitted, plan, every_frame=True, original_size=False)
    assert len(held) == num_source
    furthest = (num_source - 1) / max(1, num_frames - 1)
    assert float((held - frames).abs().max()) * 128 <= furthest
    assert len(restore_frames(fitted, plan, every_frame=False, original_size=False)) == num_frames


def test_held_frames_are_the_nearest_in_time() -> None:
    assert nearest_edited(plan_fitting(9, (8, 8), (8, 8), 3, 1, "crop")) == (
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        2,
        2,
    )


SIZES = [(480, 832), (832, 480), (480, 480), (101, 75), (64, 1000)]


@pytest.mark.parametrize(
    ("source", "aspect"), list(itertools.product(SIZES, ["crop", "pad", "stretch", "keep"]))
)
def test_sizes_of_every_aspect(source: tuple[int, int], aspect: str) -> None:
    plan = plan_fitting(1, source, (128, 208), None, 1, aspect)
    fitted = fit_frames(clip(1, *source), plan)
    assert fitted.shape == (1, 3, *plan.size)
    restored = restore_frames(fitted, plan, every_frame=True, original_size=True)
    assert tuple(restored.shape[-2:]) == plan.kept_size
    cut = restore_frames(fitted, plan, every_frame=True, original_size=False)
    assert tuple(cut.shape[-2:]) == plan.content
    if aspect == "keep":
        assert plan.size[0] * plan.size[1] <= 128 * 208
        assert plan.size[0] % 16 == plan.size[1] % 16 == 0
    else:
        assert plan.size == (128, 208)
    if aspect != "crop":
        assert plan.kept_size == source
    if aspect == "pad":
        assert plan.content[0] % 2 == plan.content[1] % 2 == 0
        assert plan.content[0] == 128 or plan.content[1] == 208


def test_keep_never_enlarges() -> None:
    assert plan_fitting(1, (64, 96), (480, 832), None, 1, "keep").size == (64, 96)
    assert plan_fitting(1, (362, 640), (480, 832), None, 1, "keep").size == (352, 640)
    assert plan_fitting(1, (1080, 1920), (480, 832), None, 1, "keep").size == (464, 832)
    assert plan_fitting(1, (1920, 1080), (480, 832), None, 1, "keep").size == (832, 464)


def test_bars_are_black_and_leave_no_trace() -> None:
    frames = torch.full((2, 3, 32, 64), 0.5)
    plan = plan_fitting(2, (32, 64), (64, 64), None, 1, "pad")
    fitted = fit_frames(frames, plan)
    assert float(fitted[:, :, :16].max()) == float(fitted[:, :, 48:].max()) == 0
    assert torch.equal(restore_frames(fitted, plan, every_frame=True, original_size=False), frames)


def test_an_upscaled_edit_is_cut_at_its_own_scale() -> None:
    plan = plan_fitting(2, (32, 64), (64, 64), None, 1, "pad")
    upscaled = (
        fit_frames(torch.full((2, 3, 32, 64), 0.5), plan)
        .repeat_interleave(2, -1)
        .repeat_interleave(2, -2)
    )
    restored = restore_frames(upscaled, plan, every_frame=True, original_size=False)
    assert restored.shape == (2, 3, 64, 128)
    assert torch.equal(restored, torch.full_like(restored, 0.5))


@pytest.mark.parametrize("aspect", ["crop", "pad", "stretch", "keep"])
def test_scaling_there_and_back_keeps_the_colours(aspect: str) -> None:
    colour = torch.tensor([0.8, 0.3, 0.1])[None, :, None, None]
    frames = colour.expand(3, 3, 90, 160)
    plan = plan_fitting(3, (90, 160), (64, 64), None, 4, aspect)
    restored = restore_frames(fit_frames(frames, plan), plan, every_frame=True, original_size=True)
    assert torch.allclose(restored, colour.expand_as(restored), atol=1e-5)


def test_another_clip_is_refused_with_both_numbers() -> None:
    plan = plan_fitting(6, (32, 64), (64, 64), None, 4, "pad")
    with pytest.raises(
        ValueError,
        match=r"frames got 7, wanted the 9 of the fitted clip \(or the 6 before padding\)",
    ):
        restore_frames(clip(7, 64, 64), plan, every_frame=True, original_size=False)
    with pytest.raises(ValueError, match="frames got 64x32, wanted 64x64 or an enlargement"):
        restore_frames(clip(9, 32, 64), plan, every_frame=True, original_size=False)
    with pytest.raises(
        ValueError, match="aspect got 'zoom', wanted one of crop, pad, stretch, keep"
    ):
        plan_fitting(6, (32, 64), (64, 64), None, 4, "zoom")


def test_report_says_what_was_enlarged_repeated_and_held() -> None:
    plan = plan_fitting(3, (32, 64), (64, 128), 6, 4, "crop")
    assert describe_fitting(plan, "crop", 4) == (
        "3 frames of 64x32: 6 picked evenly, scaled by 2.000 and cropped to 128x64; enlarged 2.00 "
        "times, which adds no detail: a smaller size would keep it all; 3 of the picked frames are "
        "repeats, as the clip is shorter; the last frame is held 3 times more, as the VAE needs 4 "
        "n + 1 frames"
    )
    kept = plan_fitting(5, (480, 832), (480, 832), None, 4, "keep")
    assert describe_fitting(kept, "keep", 4) == "5 frames of 832x480: all kept, at its own size"
    long = plan_fitting(2000, (720, 1280), (96, 160), 9, 1, "crop")
    assert "Restore Video needs 21 GB of memory" in describe_fitting(long, "crop", 1)
    flat = plan_fitting(5, (480, 832), (480, 480), None, 4, "stretch")
    assert "stretched to 480x480, 0.577 times wider" in describe_fitting(flat, "stretch", 4)
