"""Which earlier segments are retrieved: Alg. 2 to the letter, and what shots change about it."""

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.retrieval.descriptors import LIGHT
from memv2v_core.retrieval.segments import SegmentRetrievalConfig, retrieve_by_similarity
from memv2v_core.retrieval.selection import RankedEntry

PAPER = SegmentRetrievalConfig(shot_aware=False)


def entry(
    idx: int, descriptor: torch.Tensor, shot: int = 0, turn: int | None = None, **fields: object
) -> MemoryEntry:
    turn = idx + 1 if turn is None else turn
    defaults = {
        "source_descriptor": descriptor,
        "descriptor_name": LIGHT,
        "segment": Segment(idx, 5 * idx, 5, shot),
    }
    latent = torch.full((4, 2, 4, 4), float(turn))
    return MemoryEntry.of(
        latent, static_trajectory(5), "m", 5, turn, float(turn), **{**defaults, **fields}
    )


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for made in entries:
        cache = cache.append(made)
    return cache


def towards(degrees: float) -> torch.Tensor:
    """A descriptor at this angle from `towards(0)`, 3 long to show that length counts for
    nothing."""
    angle = torch.deg2rad(torch.tensor(degrees))
    return 3 * torch.stack((angle.cos(), angle.sin(), torch.zeros(())))


def idxs(ranked: tuple[RankedEntry, ...]) -> list[int]:
    return [found.entry.segment.idx for found in ranked]


def rank(
    cache: MemoryCache, target: Segment, k: int, config: SegmentRetrievalConfig | None = None
) -> list[int]:
    return idxs(retrieve_by_similarity(cache, towards(0), LIGHT, target, k, config).ranked)


def algorithm_2(
    d_tar: torch.Tensor, d: list[torch.Tensor], enforce_recent_first: bool
) -> tuple[list[int], list[float]]:
    """Alg. 2 of arXiv:2601.16296v2, line by line; indices from 1, as there."""
    num = len(d)
    sim = {}
    for k in range(1, num + 1):
        sim[k] = float(torch.dot(d_tar, d[k - 1]) / (d_tar.norm() * d[k - 1].norm()))
    pi = sorted(sim, key=lambda k: sim[k], reverse=True)
    if enforce_recent_first:
        pi.remove(num)
        pi.insert(0, num)
    return pi, [sim[k] for k in pi]


@pytest.mark.parametrize("recent_first", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_without_shots_the_ranking_is_the_papers(recent_first, seed):
    generator = torch.Generator().manual_seed(seed)
    descriptors = list(torch.randn(9, 6, generator=generator))
    entries = [entry(idx, descriptors[idx], shot=idx // 3) for idx in range(8)]
    order = torch.randperm(
        8, generator=generator
    ).tolist()  # the order in which segments were edited counts for nothing
    config = SegmentRetrievalConfig(
        enforce_recent_first=recent_first, shot_aware=False, min_similarity=2.0
    )
    cache = cache_of(*(entries[idx] for idx in order))
    found = retrieve_by_similarity(cache, descriptors[8], LIGHT, Segment(8, 40, 5, 2), 3, config)
    pi, sim = algorithm_2(descriptors[8], descriptors[:8], recent_first)
    both = (*found.ranked, *found.rejected)
    assert [idx + 1 for idx in idxs(both)] == pi
    assert len(found.ranked) == 3
    assert [item.score for item in both] == pytest.approx(sim, abs=1e-6)
    assert found.query is None
    assert [item.entry.segment.idx for item in both if item.is_previous] == [7]


def test_previous_segment_comes_first_within_its_shot():
    cache = cache_of(entry(0, towards(5)), entry(1, towards(2)), entry(2, towards(60)))
    found = retrieve_by_similarity(cache, towards(0), LIGHT, Segment(3, 15, 5), 2)
    assert idxs(found.ranked) == [2, 1]
    assert idxs(found.rejected) == [0]
    assert [item.is_previous for item in found.ranked] == [True, False]
    assert found.ranked[0].score == pytest.approx(0.5)
    assert rank(
        cache, Segment(3, 15, 5), 2, SegmentRetrievalConfig(enforce_recent_first=False)
    ) == [1, 0]


def test_a_new_shot_gets_no_memory_of_one_that_it_does_not_resemble():
    cache = cache_of(entry(0, towards(80)), entry(1, towards(70)))
    target = Segment(2, 10, 5, shot=1)
    found = retrieve_by_similarity(cache, towards(0), LIGHT, target, 3)
    assert found.ranked == ()
    assert idxs(found.rejected) == [1, 0]
    assert rank(cache, target, 3, PAPER) == [1, 0]  # what leaks in Fig. 18


def test_a_return_to_an_earlier_shot_finds_it_again():
    cache = cache_of(
        entry(0, towards(10)),
        entry(1, towards(3)),
        entry(2, towards(85), 1),
        entry(3, towards(80), 1),
    )
    found = retrieve_by_similarity(cache, towards(0), LIGHT, Segment(4, 20, 5, shot=2), 3)
    assert idxs(found.ranked) == [1, 0]
    assert idxs(found.rejected) == [3, 2]
    assert not any(item.is_previous for item in found.ranked)
    assert rank(cache, Segment(4, 20, 5, shot=2), 3, PAPER) == [3, 1, 0]


def test_own_shot_counts_however_unlike_and_the_threshold_is_for_others():
    cache = cache_of(entry(0, towards(30)), entry(1, towards(85), 1), entry(2, towards(89), 1))
    target = Segment(3, 15, 5, shot=1)
    assert rank(cache, target, 3) == [2, 0, 1]
    assert rank(cache, target, 3, SegmentRetrievalConfig(min_similarity=0.9)) == [2, 1]
    assert rank(cache, target, 3, SegmentRetrievalConfig(min_similarity=-1.0)) == [2, 0, 1]


def test_pinned_segments_are_chosen_across_a_cut_and_take_places():
    cache = cache_of(
        entry(0, towards(85), is_pinned=True), entry(1, towards(5), 1), entry(2, towards(9), 1)
    )
    target = Segment(3, 15, 5, shot=1)
    assert rank(cache, target, 2) == [2, 0]
    assert rank(cache, target, 1) == [0]
    assert rank(cache, target, 0) == [0]


def test_only_earlier_segments_count():
    whole = entry(8, towards(0), segment=None, turn=20)
    cache = cache_of(
        entry(0, towards(20)),
        entry(1, towards(10)),
        entry(2, towards(0)),
        entry(3, towards(0)),
        whole,
    )
    assert rank(cache, Segment(2, 10, 5), 9) == [1, 0]
    assert rank(cache, Segment(2, 10, 5), 0) == []
    assert rank(cache, Segment(0, 0, 5), 9) == []
    assert rank(MemoryCache(), Segment(4, 20, 5), 9) == []


def test_the_newest_take_of_a_segment_counts_unless_one_is_pinned():
    old, new = entry(0, towards(1), turn=1), entry(0, towards(2), turn=2)
    found = retrieve_by_similarity(cache_of(old, new), towards(0), LIGHT, Segment(1, 5, 5), 3)
    assert [item.entry.turn for item in found.ranked] == [2]
    pinned = cache_of(entry(0, towards(1), turn=1, is_pinned=True), new)
    found = retrieve_by_similarity(pinned, towards(0), LIGHT, Segment(1, 5, 5), 3)
    assert [item.entry.turn for item in found.ranked] == [1]


def test_ties_go_to_the_later_segment():
    cache = cache_of(*(entry(idx, towards(5)) for idx in range(3)))
    assert rank(
        cache, Segment(3, 15, 5), 3, SegmentRetrievalConfig(enforce_recent_first=False)
    ) == [2, 1, 0]


@pytest.mark.parametrize(
    ("fields", "got"),
    [
        (
            {"descriptor_name": "dinov2-base"},
            "got 3 numbers of 'dinov2-base', wanted 3 numbers of 'built-in light'",
        ),
        ({"source_descriptor": None}, "got none, wanted 3"),
        ({"source_descriptor": torch.zeros(4)}, "got 4 numbers"),
    ],
)
def test_other_descriptors_are_refused(fields, got):
    cache = cache_of(entry(0, towards(0)), entry(1, towards(0), **fields))
    with pytest.raises(
        ValueError,
        match=f"source descriptor of segment 2 {got}.*one descriptor for the whole video",
    ):
        retrieve_by_similarity(cache, towards(0), LIGHT, Segment(2, 10, 5), 2)


def test_negative_k_is_refused():
    with pytest.raises(ValueError, match="k got -1, wanted 0 or more"):
        rank(MemoryCache(), Segment(0, 0, 5), -1)


@pytest.mark.parametrize("width", [5, 767, 768])
def test_equal_sources_rank_from_the_newest_in_a_long_video(width: int) -> None:
    """A matrix product rounds some rows otherwise than others, and so would decide here."""
    descriptor = torch.randn(width, generator=torch.Generator().manual_seed(1))
    entries = [entry(idx, descriptor) for idx in range(1001)]
    query = torch.randn(width, generator=torch.Generator().manual_seed(2))
    cache = MemoryCache("m", tuple(entries))
    retrieval = retrieve_by_similarity(cache, query, LIGHT, Segment(1001, 5005, 5), 3, PAPER)
    assert idxs((*retrieval.ranked, *retrieval.rejected)) == list(range(1000, -1, -1))
    wanted = torch.nn.functional.cosine_similarity(query.double(), descriptor.double(), dim=0)
    (score,) = {found.score for found in (*retrieval.ranked, *retrieval.rejected)}
    assert score == pytest.approx(float(wanted), abs=1e-14)


def test_a_descriptor_of_zeros_is_alike_to_nothing() -> None:
    cache = cache_of(entry(0, torch.zeros(4)), entry(1, torch.ones(4)))
    retrieval = retrieve_by_similarity(cache, torch.ones(4), LIGHT, Segment(2, 10, 5), 2)
    assert idxs(retrieval.ranked) == [1, 0]
    assert [found.score for found in retrieval.ranked] == [pytest.approx(1.0, abs=1e-15), 0.0]
