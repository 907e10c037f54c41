"""The claims about held-out scenes of solids.

The rows of the rotating table come first, with the same bars; then what only depth can ask.
"""

from dataclasses import dataclass

import torch

from ..claims import Claim, Measured, helps, reported, within
from ..novel_view.claims import (
    agreement_claims,
    merging_claims,
    sharpness_claims,
    source_claims,
    three_turn_claims,
)
from ..statistics import Estimate, finite_pairs, mean_estimate, ratio_estimate

# Refreshes of clean tokens in every n-th of the sampler's calls.
REFRESHES = (2, 3, 4, 12)


@dataclass(frozen=True, eq=False)
class SomeMeasured(Measured):
    """Measures of which some scenes have none: they are NaN, and do not count."""

    def mean(self, name: str) -> Estimate:
        values = self.values[name]
        return mean_estimate(values[torch.isfinite(values)])

    def difference(self, name: str, minus: str) -> Estimate:
        first, second = finite_pairs(*self._pair(name, minus))
        return mean_estimate(first - second)

    def ratio(self, name: str, over: str) -> Estimate:
        return ratio_estimate(*finite_pairs(*self._pair(name, over)))


def depth_claims(measured: Measured) -> tuple[Claim, ...]:
    """Every claim of the table for scenes with depth, in its order."""
    return (
        *agreement_claims(measured),
        *thing_claims(measured),
        *sharpness_claims(measured),
        *three_turn_claims(measured),
        *source_claims(measured),
        *merging_claims(measured),
        *refresh_claims(measured),
        *obedience_claims(measured),
        *overlap_claims(measured),
    )


def thing_claims(measured: Measured) -> tuple[Claim, ...]:
    """Agreement on things alone: floor, walls and sky are easier to guess.

    True views differ too, because the warp interpolates and smooth edges mix two surfaces.
    """
    return (
        reported("unseen region: MAE between true views", "", measured.mean("unseen_mae_floor")),
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
    for what in ("turn", "move"):
        word = {"turn": "rotation", "move": "translation"}[what]
        claims += [
            reported(
                f"share of the asked {word} that the clip shows, {arm}",
                "",
                measured.mean(f"{what}_share_{name}"),
            )
            for name, arm in (
                ("truth", "true view"),
                ("none", "without"),
                ("memory", "with memory"),
            )
        ]
        claims.append(
            reported(
                f"its distance from 1, with memory, {word}",
                "",
                measured.mean(f"{what}_error_memory"),
            )
        )
    return tuple(claims)


def overlap_claims(measured: Measured) -> tuple[Claim, ...]:
    """VideoFOV, which knows no depth, against what two paths truly show of the same points."""
    return (
        reported(
            "VideoFOV against true overlap: rank correlation", "", measured.mean("cover_rank")
        ),
        reported(
            "... VideoFOV minus truth, share of the query's view", "", measured.mean("cover_error")
        ),
        reported(
            "... absolute error where the candidate ends near the query",
            "",
            measured.mean("cover_error_near"),
        ),
        reported(
            "... absolute error where the candidate ends far from it",
            "",
            measured.mean("cover_error_moved"),
        ),
        helps(
            "... far minus near",
            measured.difference("cover_error_moved", "cover_error_near"),
        ),
        reported("... its first choice is truly the best", "", measured.mean("cover_hit")),
        reported("... overlap lost by its first choice", "", measured.mean("cover_lost")),
    )
