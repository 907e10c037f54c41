"""The claims about held-out scenes of solids.

The rows of the rotating table come first, with the same bars; then what only depth can ask.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..claims import Claim, Measured, reported, within
from ..novel_view.claims import (
    agreement_claims,
    merging_claims,
    sharpness_claims,
    source_claims,
    three_turn_claims,
)
from ..statistics import (
    Estimate,
    finite_pairs,
    mean_estimate,
    median_estimate,
    ratio_estimate,
)
from .obedience import LEAST_MOVE, MOVE_SHARES, TURN_SHARES
from .overlap import RADII

# Refreshes of clean tokens in every n-th of the sampler's calls.
REFRESHES = (2, 3, 4, 12)


@dataclass(frozen=True, eq=False)
class SomeMeasured(Measured):
    """Measures of which some scenes have none: they are NaN, and do not count."""

    def mean(self, name: str) -> Estimate:
        values = self.values[name]
        return _of_some(mean_estimate, values[torch.isfinite(values)])

    def difference(self, name: str, minus: str) -> Estimate:
        first, second = finite_pairs(*self._pair(name, minus))
        return _of_some(mean_estimate, first - second)

    def ratio(self, name: str, over: str) -> Estimate:
        return _of_some(ratio_estimate, *finite_pairs(*self._pair(name, over)))


def _of_some(estimate: Callable[..., Estimate], *values: torch.Tensor) -> Estimate:
    """The estimate over the scenes that are left; NaN for fewer than two."""
    count = len(values[0])
    return estimate(*values) if count >= 2 else Estimate(math.nan, math.nan, math.nan, count)


def depth_claims(measured: Measured) -> tuple[Claim, ...]:
    """Every claim of the table for scenes with depth, in its order."""
    return (
        *agreement_claims(measured),
        *moving_claims(measured),
        *thing_claims(measured),
        *sharpness_claims(measured),
        *three_turn_claims(measured),
        *source_claims(measured),
        *merging_claims(measured),
        *refresh_claims(measured),
        *obedience_claims(measured),
        *overlap_claims(measured),
    )


def moving_claims(measured: Measured) -> tuple[Claim, ...]:
    """Agreement where both turns move their cameras: two that only turn show no parallax."""
    moves = torch.stack([measured.values["first_moves_by"], measured.values["second_moves_by"]])
    both = (moves >= LEAST_MOVE).all(0)
    none, memory = (measured.values[f"unseen_mae_{arm}"][both] for arm in ("none", "memory"))
    return (
        reported(
            "both cameras move: MAE to turn 1, with memory", "", _of_some(mean_estimate, memory)
        ),
        within(
            "both cameras move: with over without",
            "",
            _of_some(ratio_estimate, memory, none),
            high=0.5,
        ),
    )


def thing_claims(measured: Measured) -> tuple[Claim, ...]:
    """Agreement on things alone: floor, walls and sky are easier to guess.

    True views differ too, because the warp interpolates and smooth edges mix two surfaces.
    """
    return (
        reported("unseen region: MAE between true views", "", measured.mean("unseen_mae_floor")),
        reported("unseen region: share of things", "", measured.mean("things_share")),
        reported("unseen region: share of moving things", "", measured.mean("moving_share")),
        reported(
            "unseen things: MAE to turn 1, without memory", "", measured.mean("things_mae_none")
        ),
        reported(
            "unseen things: MAE to turn 1, with memory", "", measured.mean("things_mae_memory")
        ),
        within(
            "unseen things: with over without",
            "",
            measured.ratio("things_mae_memory", "things_mae_none"),
            high=0.5,
        ),
    )


def refresh_claims(measured: Measured) -> tuple[Claim, ...]:
    """Keeping the keys and values of clean tokens must not cost agreement."""
    return tuple(
        within(
            f"refresh every {count} calls of 12: MAE over every call",
            "",
            measured.ratio(f"unseen_mae_refresh_{count}", "unseen_mae_refresh_1"),
            high=1.05,
        )
        for count in REFRESHES
    )


def obedience_claims(measured: Measured) -> tuple[Claim, ...]:
    """The path that a clip shows, against the path that was asked for."""
    claims = []
    for what, word, shares in (
        ("turn", "rotation", TURN_SHARES),
        ("move", "translation", MOVE_SHARES),
    ):
        share = f"share of the asked {word} that the clip shows"
        claims += [
            reported(f"{share}, {arm}", "", measured.mean(f"{what}_share_{name}"))
            for name, arm in (
                ("truth", "true view"),
                ("none", "without"),
                ("memory", "with memory"),
            )
        ]
        shown = measured.values[f"{what}_share_memory"]
        shown = shown[torch.isfinite(shown)]
        at_end = ((shown <= shares[0]) | (shown >= shares[-1])).double()
        claims += [
            reported(f"... its median, with memory, {word}", "", _of_some(median_estimate, shown)),
            reported(
                f"... its distance from 1, with memory, {word}",
                "",
                measured.mean(f"{what}_error_memory"),
            ),
            reported(
                f"... clips that no tried path fits, with memory, {word}",
                "",
                _of_some(mean_estimate, at_end),
            ),
        ]
    return tuple(claims)


def overlap_claims(measured: Measured) -> tuple[Claim, ...]:
    """VideoFOV against what two paths truly show of the same points."""
    rows = (
        ("rank correlation with the true overlap", "rank"),
        ("its first choice is truly the best", "hit"),
        ("overlap lost by its first choice", "lost"),
        ("covered share minus the true one", "error"),
        ("absolute error of a candidate that stays near", "error_near"),
        ("absolute error of a candidate that goes far", "error_far"),
    )
    return tuple(
        reported(f"VideoFOV of radius {radius}: {words}", "", measured.mean(f"cover_{of}_{radius}"))
        for radius in RADII
        for words, of in rows
    )
