"""The claims about held-out scenes, each with its bar."""

from collections.abc import Sequence

import torch

from ...tokens.merging import MergeConfig
from ..claims import Claim, Measured, helps, no_harm, reported, within
from ..statistics import mean_estimate
from .responsiveness import BlockAgreement


def all_claims(measured: Measured, agreements: Sequence[BlockAgreement]) -> tuple[Claim, ...]:
    """Every claim of the held-out table, in its order."""
    return (
        *agreement_claims(measured),
        *sharpness_claims(measured),
        *three_turn_claims(measured),
        *source_claims(measured),
        *merging_claims(measured),
        *responsiveness_claims(agreements),
    )


def agreement_claims(measured: Measured) -> tuple[Claim, ...]:
    """Turn 2 must agree with the warped turn 1 where the source never looked."""
    return (
        reported(
            "unseen region: MAE to turn 1, without memory", "", measured.mean("unseen_mae_none")
        ),
        reported(
            "unseen region: MAE to turn 1, with memory", "", measured.mean("unseen_mae_memory")
        ),
        # The bar of the task: memory halves the difference.
        within(
            "... with over without",
            "",
            measured.ratio("unseen_mae_memory", "unseen_mae_none"),
            high=0.5,
        ),
        helps(
            "... without minus with", measured.difference("unseen_mae_none", "unseen_mae_memory")
        ),
        helps(
            "one memory at 1x8x8: without minus with",
            measured.difference("unseen_mae_none", "unseen_mae_rank_4"),
        ),
    )


def sharpness_claims(measured: Measured) -> tuple[Claim, ...]:
    """Blur and luck must not be the reason why turns agree."""
    # Blur would lower the gradient, noise would raise it.
    gradient, gain = (
        "unseen_gradient_memory",
        measured.difference("unseen_psnr_truth", "unseen_psnr_none"),
    )
    # A memory of another scene must not look like a help, and must not hurt much.
    foreign = measured.difference("unseen_psnr_foreign", "unseen_psnr_none")
    cost = measured.difference("seen_psnr_none", "seen_psnr_foreign")
    return (
        within(
            "gradient with memory over codec's of truth",
            "",
            measured.ratio(gradient, "unseen_gradient_ceiling"),
            0.75,
            1.25,
        ),
        within(
            "gradient with memory over without",
            "",
            measured.ratio(gradient, "unseen_gradient_none"),
            0.9,
        ),
        within("true view as memory: gain to truth", "dB", gain, 5.0),
        within("another scene as memory: gain to truth", "dB", foreign, high=0.5),
        within("another scene as memory: cost where source sees", "dB", cost, high=1.0),
    )


def three_turn_claims(measured: Measured) -> tuple[Claim, ...]:
    """Each memory must help the region that it alone covers.

    Turn 3 sweeps over A (first) and B (opposite).
    """
    letters = {"first": "A", "opposite": "B"}
    claims = []
    for memory, sides in (
        ("first", ("first",)),
        ("opposite", ("opposite",)),
        ("both", ("first", "opposite")),
    ):
        for side in sides:
            gain = measured.difference(f"sweep_mae_none_on_{side}", f"sweep_mae_{memory}_on_{side}")
            held = letters.get(memory, "A,B")
            claims.append(
                helps(
                    f"turn 3 with {{{held}}}, region of {letters[side]}: without minus with", gain
                )
            )
    return tuple(claims)


def source_claims(measured: Measured) -> tuple[Claim, ...]:
    """Memory must cost nothing where the source looked."""
    return (
        within(
            "source region: PSNR, memory minus none",
            "dB",
            measured.difference("seen_psnr_memory", "seen_psnr_none"),
            -0.3,
        ),
        within("source region: PSNR with memory", "dB", measured.mean("seen_psnr_memory"), 24.0),
        within("source region: PSNR without memory", "dB", measured.mean("seen_psnr_none"), 24.0),
        within(
            "source region: PSNR of the codec's round trip",
            "dB",
            measured.mean("seen_psnr_ceiling"),
            27.0,
        ),
        reported(
            "... ceiling minus with memory",
            "dB",
            measured.difference("seen_psnr_ceiling", "seen_psnr_memory"),
        ),
    )


def merging_claims(measured: Measured) -> tuple[Claim, ...]:
    """Merging the less responsive frames must cost little, and must not lose to discarding.

    "Twice": half of the frames that are still whole are merged before each of two blocks, and a
    quarter stays whole. "In all": half stays whole in the end.
    """
    harm = measured.difference("unseen_mae_merge", "unseen_mae_discard")
    unmerged = "unseen_mae_memory"
    return (
        within(
            "half merged, twice: MAE over unmerged",
            "",
            measured.ratio("unseen_mae_merge", unmerged),
            high=1.05,
        ),
        within(
            "half merged in all: MAE over unmerged",
            "",
            measured.ratio("unseen_mae_merge_half", unmerged),
            high=1.05,
        ),
        no_harm("merged minus discarded: MAE", harm),
    )


def responsiveness_claims(agreements: Sequence[BlockAgreement]) -> tuple[Claim, ...]:
    """Table 1 for keys before and after RoPE.

    The default kind of keys must not be the worse one.
    """
    claims = []
    for agreement in agreements:
        keys = "after" if agreement.rotated_keys else "before"
        for measure in ("pearson", "spearman", "overlap"):
            name = f"keys {keys} RoPE, block {agreement.block} vs later: {measure}"
            claims.append(reported(name, "", mean_estimate(getattr(agreement, measure))))
    # The default must be the better kind of keys, or as good.
    default = MergeConfig().rotated_keys
    chosen = torch.stack([a.overlap for a in agreements if a.rotated_keys == default]).mean(0)
    other = torch.stack([a.overlap for a in agreements if a.rotated_keys != default]).mean(0)
    lead = mean_estimate(chosen - other)
    name = (
        f"bottom-half overlap: keys {'after' if default else 'before'} RoPE (default) minus the "
        "other"
    )
    return (*claims, Claim(name, "interval not below 0", "", lead, lead.high >= 0))
