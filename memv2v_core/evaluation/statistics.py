"""Confidence intervals over scenes, and how alike two rankings are."""

from dataclasses import dataclass

import torch

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A number over `num_scenes` scenes, and the ends of its interval at `CONFIDENCE`."""

    value: float
    low: float
    high: float
    num_scenes: int


def mean_estimate(values: torch.Tensor) -> Estimate:
    """Mean of one value per scene (N,), with the percentile bootstrap's interval.

    Raises: ValueError for fewer than 2 scenes.
    """
    values = values.double()
    return _estimate(values.mean(), values[_bootstrap_rows(len(values))].mean(1), len(values))


def median_estimate(values: torch.Tensor) -> Estimate:
    """Median of one value per scene (N,), with the percentile bootstrap's interval.

    Raises: ValueError for fewer than 2 scenes.
    """
    values = values.double()
    resampled = values[_bootstrap_rows(len(values))].quantile(0.5, dim=1)
    return _estimate(values.quantile(0.5), resampled, len(values))


def ratio_estimate(numerators: torch.Tensor, denominators: torch.Tensor) -> Estimate:
    """Mean of `numerators` over mean of `denominators`, both (N,).

    Scenes are resampled in pairs.

    Raises: ValueError for fewer than 2 scenes.
    """
    top, bottom = numerators.double(), denominators.double()
    rows = _bootstrap_rows(len(top))
    return _estimate(top.mean() / bottom.mean(), top[rows].mean(1) / bottom[rows].mean(1), len(top))


def finite_pairs(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both measures (n,) of the scenes where both are numbers."""
    both = torch.isfinite(first) & torch.isfinite(second)
    return first[both], second[both]


def pearson(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Linear correlation (B,) of the rows of two tensors (B, n)."""
    a, b = (
        a.double() - a.double().mean(1, keepdim=True),
        b.double() - b.double().mean(1, keepdim=True),
    )
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def spearman(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Rank correlation (B,) of the rows of two tensors (B, n); no ties."""
    return pearson(_ranks(a), _ranks(b))


def bottom_half_overlap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Share (B,) of the lowest half of row a, (B, n), that is also in the lowest half of row b."""
    half = a.shape[1] // 2
    return ((_ranks(a) < half) & (_ranks(b) < half)).sum(1).double() / half


def _ranks(values: torch.Tensor) -> torch.Tensor:
    # The place of each value in sorted order: the inverse of the sorting permutation.
    return values.argsort(1).argsort(1)


def _bootstrap_rows(num_scenes: int) -> torch.Tensor:
    """The scenes of each resample, (NUM_RESAMPLES, scenes).

    All measures with the same number of scenes get the same resamples.
    """
    if num_scenes < 2:
        raise ValueError(
            f"the number of scenes got {num_scenes}, wanted at least 2 for an interval; raise it"
        )
    generator = torch.Generator().manual_seed(BOOTSTRAP_SEED)
    return torch.randint(num_scenes, (NUM_RESAMPLES, num_scenes), generator=generator)


def _estimate(value: torch.Tensor, resampled: torch.Tensor, num_scenes: int) -> Estimate:
    # The percentile bootstrap: the ends of the middle 95 % of the resampled values.
    tail = (1 - CONFIDENCE) / 2
    low, high = torch.quantile(
        resampled, torch.tensor([tail, 1 - tail], dtype=resampled.dtype)
    ).tolist()
    return Estimate(value.item(), low, high, num_scenes)
