"""The picture of why segments became memories."""

from dataclasses import replace

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.pictures.segments import draw_segments
from memv2v_core.retrieval.selection import RankedEntry, Retrieval


def candidate(
    idx: int, score: float, thumbnail: torch.Tensor | None = None, **changes: object
) -> RankedEntry:
    entry = MemoryEntry.of(
        torch.full((2, 3, 2, 2), float(idx)),
        static_trajectory(3, is_assumed=True),
        "model",
        3,
        turn=idx + 1,
        created_s=float(idx),
        segment=Segment(idx, 3 * idx, 3),
        thumbnail=thumbnail,
    )
    return RankedEntry(replace(entry, **changes), score)


FRAME = torch.full((8, 16, 3), 0.5)


def test_segments_are_named_from_one() -> None:
    assert Segment(2, 18, 9, shot=1).describe() == "segment 3: frames 19 to 27, shot 2"
    assert Segment(0, 0, 1).describe() == "segment 1: frame 1, shot 1"


@pytest.mark.parametrize("score", [-0.4, 0.0, 0.7, 1.0])
def test_every_candidate_has_a_row_and_a_bar_as_long_as_its_score(score: float) -> None:
    query = Segment(3, 9, 3)
    none = draw_segments(Retrieval(None, ()), query, FRAME)
    one = draw_segments(Retrieval(None, (candidate(0, score),)), query, FRAME)
    two = draw_segments(Retrieval(None, (candidate(0, score),), (candidate(1, 0.1),)), query, FRAME)
    assert none.shape[0] < one.shape[0] < two.shape[0]
    assert one.shape[1:] == none.shape[1:]
    assert float(two.min()) >= 0
    assert float(two.max()) <= 1
    full = draw_segments(Retrieval(None, (candidate(0, 0.99),)), query, FRAME)
    bar = one[-84:][56:68, 150:380]
    assert torch.equal(bar, full[-84:][56:68, 150:380]) == (score == 1.0)


def test_a_given_picture_is_shown_instead_of_the_entrys_own() -> None:
    own = candidate(0, 0.5, thumbnail=torch.full((8, 8, 3), 200, dtype=torch.uint8))
    retrieval, query = Retrieval(None, (own,)), Segment(1, 3, 3)
    shown = draw_segments(retrieval, query, FRAME)
    given = draw_segments(retrieval, query, FRAME, {own.entry.entry_id: torch.zeros(8, 8, 3)})
    assert not torch.equal(shown, given)


def test_a_long_list_is_cut_short_with_a_note() -> None:
    many = tuple(candidate(idx, 0.5) for idx in range(20))
    twelve = draw_segments(Retrieval(None, many[:12]), Segment(20, 60, 3), FRAME)
    assert (
        0
        < draw_segments(Retrieval(None, many), Segment(20, 60, 3), FRAME).shape[0] - twelve.shape[0]
        < 84
    )
