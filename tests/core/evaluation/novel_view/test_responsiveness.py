import torch

from memv2v_core.evaluation.novel_view.arms import SceneTurns, sample_arms, sample_detail_arms
from memv2v_core.evaluation.novel_view.responsiveness import (
    FinishedSweep,
    block_agreements,
    finished_sweep,
    responsiveness_by_block,
)


def test_scores_cover_every_block_and_every_source_and_memory_frame(turns: SceneTurns) -> None:
    arms = sample_arms(turns)
    details = sample_detail_arms(turns, arms)
    finished = FinishedSweep.of(arms, details)
    before, after = (responsiveness_by_block(turns, finished, rotated) for rotated in (False, True))
    assert before.shape == (4, 1, 15)  # blocks, the scene, 5 frames of source and either memory
    assert ((before > 0) & (before <= 1)).all()
    assert not torch.equal(before, after)
    # The three turns alone are those of the arms.
    alone = finished_sweep(turns)
    for name, latent in vars(finished).items():
        torch.testing.assert_close(getattr(alone, name), latent)


def test_blocks_with_one_ranking_agree_fully() -> None:
    scores = torch.rand(1, 3, 8, generator=torch.Generator().manual_seed(0)).expand(6, 3, 8)
    agreements = block_agreements(scores, rotated_keys=True)
    assert [(a.block, a.later) for a in agreements] == [(2, (3, 4, 5)), (4, (5,))]
    for agreement in agreements:
        for values in (agreement.pearson, agreement.spearman, agreement.overlap):
            torch.testing.assert_close(values, torch.ones(3, dtype=torch.float64))


def test_a_later_block_that_turns_the_ranking_round_lowers_the_mean() -> None:
    row = torch.arange(8.0).expand(2, 8)
    scores = torch.stack([row, row, row, row, row, -row])
    first, second = block_agreements(scores, rotated_keys=False)
    torch.testing.assert_close(first.spearman, torch.full((2,), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(second.overlap, torch.zeros(2, dtype=torch.float64))
