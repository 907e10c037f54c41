"""A claim: one measured number against its bar.

The value decides whether a bar is met; the interval says how sure the value is.
"""

from dataclasses import dataclass

import torch

from .statistics import Estimate, mean_estimate, ratio_estimate

INFINITY = float("inf")


@dataclass(frozen=True)
class Claim:
    """One measured number against its bar; `passed` is None for a number without a bar."""

    name: str
    bar: str
    unit: str
    estimate: Estimate
    passed: bool | None


@dataclass(frozen=True, eq=False)
class Measured:
    """One value per scene for every measure, each (n,) over the first n scenes.

    Two measures are compared over the scenes that have both.
    """

    values: dict[str, torch.Tensor]

    def has(self, name: str) -> bool:
        """Whether any scene has this measure."""
        return name in self.values

    def mean(self, name: str) -> Estimate:
        return mean_estimate(self.values[name])

    def difference(self, name: str, minus: str) -> Estimate:
        first, second = self._pair(name, minus)
        return mean_estimate(first - second)

    def ratio(self, name: str, over: str) -> Estimate:
        return ratio_estimate(*self._pair(name, over))

    def _pair(self, first: str, second: str) -> tuple[torch.Tensor, torch.Tensor]:
        # Scenes are in one order, and detail measures exist for the first ones.
        count = min(len(self.values[first]), len(self.values[second]))
        return self.values[first][:count], self.values[second][:count]


def reported(name: str, unit: str, estimate: Estimate) -> Claim:
    """A number without a bar."""
    return Claim(name, "reported", unit, estimate, None)


def within(
    name: str, unit: str, estimate: Estimate, low: float = -INFINITY, high: float = INFINITY
) -> Claim:
    """A value that must lie between two limits."""
    bar = " and ".join(
        f"{sign} {end:g}" for sign, end in ((">=", low), ("<=", high)) if abs(end) < INFINITY
    )
    return Claim(name, f"{bar} {unit}".strip(), unit, estimate, low <= estimate.value <= high)


def helps(name: str, gain: Estimate, unit: str = "") -> Claim:
    """A gain that must surely be above 0."""
    return Claim(name, "> 0, interval excludes 0", unit, gain, gain.low > 0)


def no_harm(name: str, harm: Estimate, unit: str = "") -> Claim:
    """A harm that must not surely be above 0."""
    return Claim(name, "interval not above 0", unit, harm, harm.low <= 0)
