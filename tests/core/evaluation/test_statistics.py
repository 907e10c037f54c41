import pytest
import torch

from memv2v_core.evaluation.statistics import (
    bottom_half_overlap,
    mean_estimate,
    pearson,
    ratio_estimate,
    spearman,
)


def test_mean_interval_matches_the_normal_one_for_many_scenes() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 3
    estimate = mean_estimate(values)
    half = 1.96 * values.std().item() / 20
    assert estimate.value == pytest.approx(values.mean().item())
    assert estimate.low == pytest.approx(estimate.value - half, abs=0.01)
    assert estimate.high == pytest.approx(estimate.value + half, abs=0.01)
    assert estimate.num_scenes == 400


def test_pairs_that_always_halve_have_a_ratio_without_spread() -> None:
    values = torch.tensor([1.0, 5.0, 9.0])
    estimate = ratio_estimate(values, 2 * values)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


def test_one_scene_has_no_interval() -> None:
    with pytest.raises(ValueError, match="got 1, wanted at least 2"):
        mean_estimate(torch.tensor([1.0]))


def test_correlations_row_by_row() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    b = torch.tensor([[1.0, 4.0, 9.0, 16.0], [4.0, 3.0, 2.0, 1.0]])
    # 0.98437404 is numpy.corrcoef of both first rows.
    assert pearson(a, b).tolist() == pytest.approx([0.98437404, -1.0])
    assert spearman(a, b).tolist() == pytest.approx([1.0, -1.0])


def test_bottom_half_overlap_counts_shared_low_ranks() -> None:
    a = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert bottom_half_overlap(a, a).item() == 1
    assert bottom_half_overlap(a, torch.tensor([[0.1, 0.9, 0.2, 0.8]])).item() == 0.5
    assert bottom_half_overlap(a, -a).item() == 0
