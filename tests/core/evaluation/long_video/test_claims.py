import pytest
import torch

from memv2v_core.evaluation.claims import Claim, Measured
from memv2v_core.evaluation.long_video.claims import (
    agreement_claims,
    fifo_claims,
    leak_claims,
    quality_claims,
)


def measured(**values: float | list[float]) -> Measured:
    """Ten clips around each value, spread alike, or the given ones."""
    spread = torch.linspace(-1e-3, 1e-3, 10, dtype=torch.float64)
    return Measured(
        {
            name: torch.tensor(value, dtype=torch.float64)
            if isinstance(value, list)
            else value + spread
            for name, value in values.items()
        }
    )


def verdict(claims: tuple[Claim, ...], words: str) -> bool | None:
    (claim,) = [claim for claim in claims if words in claim.name]
    return claim.passed


@pytest.mark.parametrize(
    ("memory", "halves", "helps"), [(0.2, True, True), (0.3, False, True), (0.5, False, False)]
)
def test_agreement_needs_half_and_an_interval_above_0(
    memory: float, halves: bool, helps: bool
) -> None:
    arms = {"alone": 0.5, "memory": memory, "truth": 0.01, "answers": 0.6}
    values = {
        f"away_{what}_{arm}": value for what in ("colour", "shape") for arm, value in arms.items()
    }
    claims = agreement_claims(measured(**values), "away", "back", ("alone", "memory"))
    for what in ("colour", "shape"):
        assert verdict(claims, f"{what} difference: memory over alone") is halves
        assert verdict(claims, f"{what} difference: alone minus memory") is helps


def test_shape_may_be_open_in_fewer_clips() -> None:
    few = [0.4, 0.5, 0.6]
    values = {f"away_colour_{arm}": 0.5 for arm in ("alone", "memory", "truth", "answers")}
    values |= {
        "away_shape_alone": few,
        "away_shape_memory": [0.1, 0.2, 0.1],
        "away_shape_truth": few,
        "away_shape_answers": few,
    }
    claims = agreement_claims(measured(**values), "away", "back", ("alone", "memory"))
    counts = {claim.name: claim.estimate.num_scenes for claim in claims}
    assert counts["back: shape difference: memory over alone"] == 3
    assert counts["back: colour difference: memory over alone"] == 10


@pytest.mark.parametrize(("fifo", "passed"), [(0.4, True), (0.2, False), (0.1, False)])
def test_fifo_must_agree_less(fifo: float, passed: bool) -> None:
    values = {
        f"one_shot_{what}_{arm}": v
        for what in ("colour", "shape")
        for arm, v in (("fifo", fifo), ("memory", 0.2))
    }
    assert [claim.passed for claim in fifo_claims(measured(**values))] == [passed, passed]


@pytest.mark.parametrize(
    ("memory", "share", "passed"), [(27.8, 0.95, (True, True)), (27.6, 0.8, (False, False))]
)
def test_background_and_edits_must_not_suffer(
    memory: float, share: float, passed: tuple[bool, bool]
) -> None:
    values = {f"one_shot_background_psnr_{arm}": 28.0 for arm in ("alone", "fifo", "truth")}
    values |= {f"one_shot_edited_share_{arm}": 0.9 for arm in ("alone", "fifo")}
    values |= {"one_shot_background_psnr_memory": memory, "one_shot_edited_share_memory": share}
    claims = quality_claims(measured(**values))
    assert (verdict(claims, "memory minus alone"), verdict(claims, "at all, memory")) == passed


def test_a_leak_rate_may_equal_chance_but_not_exceed_it() -> None:
    chance, often = [0.0] * 9 + [1.0], [0.0, 1.0] * 5
    same = measured(
        two_shot_leak_alone=chance, two_shot_leak_memory=chance, two_shot_leak_paper=often
    )
    assert verdict(leak_claims(same, "two_shot", "two shots"), "memory minus alone") is True
    more = measured(
        two_shot_leak_alone=[0.0] * 10, two_shot_leak_memory=often, two_shot_leak_paper=often
    )
    assert verdict(leak_claims(more, "two_shot", "two shots"), "memory minus alone") is False
