import pytest
import torch

from memv2v_core.evaluation.claims import Claim, Measured
from memv2v_core.evaluation.novel_view.claims import (
    agreement_claims,
    merging_claims,
    responsiveness_claims,
    sharpness_claims,
    source_claims,
    three_turn_claims,
)
from memv2v_core.evaluation.novel_view.responsiveness import BlockAgreement


def _measured(**values: float) -> Measured:
    """Ten scenes around each value, spread alike."""
    spread = torch.linspace(-1e-3, 1e-3, 10, dtype=torch.float64)
    return Measured({name: value + spread for name, value in values.items()})


def _verdict(claims: tuple[Claim, ...], words: str) -> bool | None:
    (claim,) = [claim for claim in claims if words in claim.name]
    return claim.passed


@pytest.mark.parametrize(
    ("memory", "halves", "helps"), [(0.04, True, True), (0.06, False, True), (0.11, False, False)]
)
def test_agreement_needs_half_and_an_interval_above_0(
    memory: float, halves: bool, helps: bool
) -> None:
    claims = agreement_claims(
        _measured(unseen_mae_none=0.1, unseen_mae_memory=memory, unseen_mae_rank_4=0.1)
    )
    assert _verdict(claims, "with over without") is halves
    assert _verdict(claims, "... without minus with") is helps
    assert _verdict(claims, "1x8x8") is False  # no difference at all


@pytest.mark.parametrize(
    ("gradient", "passed"), [(0.7, False), (0.8, True), (1.2, True), (1.3, False)]
)
def test_sharpness_is_bounded_on_both_sides(gradient: float, passed: bool) -> None:
    claims = sharpness_claims(
        _measured(
            unseen_gradient_memory=gradient,
            unseen_gradient_ceiling=1.0,
            unseen_gradient_none=1.0,
            unseen_psnr_truth=20.0,
            unseen_psnr_none=14.0,
            unseen_psnr_foreign=14.2,
            seen_psnr_none=25.0,
            seen_psnr_foreign=23.5,
        )
    )
    assert _verdict(claims, "codec's of truth") is passed
    assert _verdict(claims, "true view as memory") is True
    assert _verdict(claims, "another scene as memory: gain") is True
    assert _verdict(claims, "another scene as memory: cost") is False  # 1.5 dB


def test_each_memory_is_judged_in_its_own_region() -> None:
    regions = {"first": (0.1, 0.05, 0.1, 0.05), "opposite": (0.1, 0.1, 0.05, 0.2)}
    values = {
        f"sweep_mae_{arm}_on_{side}": value
        for side, row in regions.items()
        for arm, value in zip(("none", "first", "opposite", "both"), row, strict=True)
    }
    assert [claim.passed for claim in three_turn_claims(_measured(**values))] == [
        True,
        True,
        True,
        False,
    ]


def test_source_region_allows_a_small_loss() -> None:
    values = {"seen_psnr_none": 25.0, "seen_psnr_memory": 24.8, "seen_psnr_ceiling": 28.0}
    assert [claim.passed for claim in source_claims(_measured(**values))] == [
        True,
        True,
        True,
        True,
        None,
    ]
    worse = source_claims(_measured(**{**values, "seen_psnr_memory": 23.9}))
    assert [claim.passed for claim in worse] == [False, False, True, True, None]


def test_merging_may_equal_discarding_but_not_lose_to_it() -> None:
    given = {"unseen_mae_merge_half": 0.04, "unseen_mae_discard": 0.04}
    equal = merging_claims(_measured(**given, unseen_mae_merge=0.04, unseen_mae_memory=0.039))
    worse = merging_claims(_measured(**given, unseen_mae_merge=0.05, unseen_mae_memory=0.04))
    assert [claim.passed for claim in equal] == [True, True, True]
    assert [claim.passed for claim in worse] == [False, True, False]


def test_details_of_fewer_scenes_are_paired_with_the_first_ones() -> None:
    none = torch.tensor([0.1, 0.2, 9.0, 9.0])
    measured = Measured({"none": none, "rank_4": torch.tensor([0.05, 0.15])})
    difference = measured.difference("none", "rank_4")
    assert difference.num_scenes == 2
    assert difference.value == pytest.approx(0.05)


def test_the_default_kind_of_keys_must_not_be_beaten() -> None:
    good, bad = (torch.full((5,), value, dtype=torch.float64) for value in (0.9, 0.6))
    agreements = [
        BlockAgreement(rotated, 2, (3,), good, good, bad if rotated else good)
        for rotated in (False, True)
    ]
    assert responsiveness_claims(agreements)[-1].passed is True
    swapped = [
        BlockAgreement(rotated, 2, (3,), good, good, good if rotated else bad)
        for rotated in (False, True)
    ]
    assert responsiveness_claims(swapped)[-1].passed is False
