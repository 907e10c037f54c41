"""A claim: one measured number against its bar.

Bars are met by the value; intervals say how sure it is.
"""

from dataclasses import dataclass

import torch

from .statistics import Estimate, mean_estimate, ratio_estimate

INFINITY = float("inf")


@dataclass(frozen=True)
class Claim:
    """One measured number against its bar; passed is None where a number is only reported."""

    name: str
    bar: str
    unit: str
    estimate: Estimate
    passed: bool | None


@dataclass(frozen=True, eq=False)
class Measured:
    """One value a scene for every measure: the first n scenes, (n,). Measures are paired over the
    scenes of both.
    """

    values: dict[str, torch.Tensor]

    def mean(self, name: str) -> Estimate:
        return mean_estimate(self.values[name])

    def difference(self, name: str, minus: str) -> Estimate:
        first, second = self._pair(name, minus)
        return mean_estimate(first - second)

    def ratio(self, name: str, over: str) -> Estimate:
        return ratio_estimate(*self._pair(name, over))

    def _pair(self, first: str, second: str) -> tuple[torch.Tensor, torch.Tensor]:
        count = min(len(self.values[first]), len(self.values[second]))
        return self.values[first][:count], self.values[second][:count]


def reported(name: str, unit: str, estimate: Estimate) -> Claim:
    """A number without a bar."""
    return Claim(name, "reported", unit, estimate, None)


def within(
    name: str, unit: str, estimate: Estimate, low: float = -INFINITY, high: float = INFINITY
) -> Claim:
    """A value that must lie between two ends."""
    bar = " and ".join(
        f"{sign} {end:g}" for sign, end in ((">=", low), ("<=", high)) if abs(end) < INFINITY
    )
    return Claim(name, f"{bar} {unit}".strip(), unit, estimate, low <= estimate.value <= high)


def helps(name: str, gain: Estimate, unit: str = "") -> Claim:
    """A gain that is surely above 0."""
    return Claim(name, "> 0, interval excludes 0", unit, gain, gain.low > 0)


def no_harm(name: str, harm: Estimate, unit: str = "") -> Claim:
    """A harm that is not surely above 0."""
    return Claim(name, "interval not above 0", unit, harm, harm.low <= 0)
