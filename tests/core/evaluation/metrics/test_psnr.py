"""PSNR: known errors give known numbers."""

import math

import pytest
import torch
from kornia.metrics import psnr

from memv2v_core.evaluation.metrics.metric import Batch
from memv2v_core.evaluation.metrics.psnr import Psnr


def videos(seed: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 4, 3, 24, 32, generator=generator)


def test_psnr_is_kornias_of_the_whole_video() -> None:
    made, true = videos(0), videos(1)
    measured = Psnr()(Batch(made, truths=true))
    assert measured.shape == (2, 1)
    assert measured.dtype == torch.float64
    for row, video, truth in zip(measured, made.double(), true.double(), strict=True):
        assert row.item() == pytest.approx(psnr(video, truth, 1.0).item(), abs=1e-6)


def test_equal_videos_are_infinite_and_others_are_not() -> None:
    made = videos(0)
    true = made.clone()
    true[1, 0, 0, 0, 0] += 0.5
    first, second = Psnr()(Batch(made, truths=true))[:, 0].tolist()
    assert first == math.inf
    # One of 4 * 3 * 24 * 32 values is off by 1/2.
    assert second == pytest.approx(10 * math.log10(4 * 9216), abs=1e-4)


def test_one_equal_frame_leaves_a_video_finite() -> None:
    true = torch.full((1, 4, 3, 8, 8), 0.5)
    made = true.clone()
    made[:, 1:] += 0.1
    measured = Psnr()(Batch(made, truths=true)).item()
    assert measured == pytest.approx(-10 * math.log10(0.01 * 3 / 4), abs=1e-4)


def test_noise_twice_as_large_costs_six_decibels() -> None:
    true = torch.full((1, 8, 3, 64, 64), 0.5)
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0))
    values = [
        Psnr()(Batch(true + sigma * noise, truths=true)).item() for sigma in (0.02, 0.04, 0.08)
    ]
    # 8 * 3 * 64 * 64 samples: the noise's own power is known to 0.5 %, 0.03 dB.
    assert values[0] == pytest.approx(-20 * math.log10(0.02), abs=0.05)
    for louder, quieter in zip(values[1:], values, strict=False):
        assert quieter - louder == pytest.approx(20 * math.log10(2), abs=1e-4)


def test_two_videos_measure_as_each_alone() -> None:
    made, true = videos(0), videos(1)
    alone = [Psnr()(Batch(made[i : i + 1], truths=true[i : i + 1])) for i in range(2)]
    assert torch.equal(Psnr()(Batch(made, truths=true)), torch.cat(alone))


def test_a_value_that_is_no_number_is_not_hidden() -> None:
    made = videos(0)
    made[0, 2, 1, 5, 5] = math.nan
    first, second = Psnr()(Batch(made, truths=videos(1)))[:, 0].tolist()
    assert math.isnan(first)
    assert math.isfinite(second)


def test_missing_truths_and_other_shapes_are_refused() -> None:
    assert Psnr.needs == {"truth"}
    with pytest.raises(ValueError, match="PSNR got no truths, wanted one a video"):
        Psnr()(Batch(videos(0)))
    with pytest.raises(ValueError, match=r"truths \(2, 3, 3, 24, 32\) for videos \(2, 4, 3, 24"):
        Psnr()(Batch(videos(0), truths=videos(1)[:, :3]))
