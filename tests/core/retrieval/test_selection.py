import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.retrieval.selection import RankedEntry, choose, retrieve_by_fov, retrieve_recent

QUERY = PresetConfig("pan_left", 30.0, 5)


def entry(
    turn: int, camera: CameraTrajectory, is_pinned: bool = False, num_frames: int = 5
) -> MemoryEntry:
    latent = torch.full((4, 5, 8, 8), float(turn))
    return MemoryEntry.of(
        latent,
        camera,
        model_name="m",
        num_frames=num_frames,
        turn=turn,
        created_s=float(turn),
        is_pinned=is_pinned,
    )


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for made in entries:
        cache = cache.append(made)
    return cache


def pan(angle: float) -> CameraTrajectory:
    return make_preset(PresetConfig("pan_left", angle, 5))


def turns(ranked: tuple[RankedEntry, ...]) -> list[int]:
    return [item.entry.turn for item in ranked]


def test_entries_rank_by_what_they_share_with_the_query():
    cache = cache_of(entry(1, pan(5.0)), entry(2, pan(30.0)), entry(3, pan(15.0)))
    retrieval = retrieve_by_fov(cache, make_preset(QUERY), 2)
    assert turns(retrieval.ranked) == [2, 3]
    assert turns(retrieval.rejected) == [1]
    best = retrieval.ranked[0]
    assert (best.score, best.overlap, best.contain) == (1.0, 1.0, 1.0)
    assert [made.turn for made in retrieval.entries] == [2, 3]
    assert torch.equal(retrieval.query.c2w, make_preset(QUERY).c2w)


def test_ties_go_to_the_newer_entry():
    cache = cache_of(*(entry(turn, pan(20.0)) for turn in (1, 2, 3)))
    retrieval = retrieve_by_fov(cache, make_preset(QUERY), 2)
    assert turns(retrieval.ranked) == [3, 2]
    assert turns(retrieval.rejected) == [1]


def test_pinned_entries_are_chosen_and_keep_their_place_in_the_order():
    cache = cache_of(entry(1, pan(5.0), is_pinned=True), entry(2, pan(30.0)), entry(3, pan(15.0)))
    assert turns(retrieve_by_fov(cache, make_preset(QUERY), 2).ranked) == [2, 1]
    assert turns(retrieve_by_fov(cache, make_preset(QUERY), 3).ranked) == [2, 3, 1]


def test_more_pins_than_k_are_all_chosen():
    cache = cache_of(
        entry(1, pan(5.0), is_pinned=True), entry(2, pan(30.0)), entry(3, pan(15.0), is_pinned=True)
    )
    retrieval = retrieve_by_fov(cache, make_preset(QUERY), 1)
    assert turns(retrieval.ranked) == [3, 1]
    assert turns(retrieval.rejected) == [2]


def test_an_empty_cache_gives_an_empty_retrieval():
    retrieval = retrieve_by_fov(MemoryCache(), make_preset(QUERY), 3)
    assert retrieval.ranked == ()
    assert retrieval.rejected == ()


def test_k_larger_than_the_cache_takes_all_and_zero_takes_none():
    cache = cache_of(entry(1, pan(5.0)), entry(2, pan(30.0)))
    assert turns(retrieve_by_fov(cache, make_preset(QUERY), 9).ranked) == [2, 1]
    retrieval = retrieve_by_fov(cache, make_preset(QUERY), 0)
    assert retrieval.ranked == ()
    assert turns(retrieval.rejected) == [2, 1]


def test_frames_that_padded_a_video_do_not_count():
    padded, cut = (
        entry(1, pan(30.0), num_frames=2),
        entry(2, pan(30.0).frames((0, 1)), num_frames=2),
    )
    ranked = retrieve_by_fov(cache_of(padded, cut), make_preset(QUERY), 2).ranked
    assert ranked[0].score == ranked[1].score < 1.0


def test_retrieval_leaves_the_cache_alone():
    cache = cache_of(entry(1, pan(5.0)), entry(2, pan(30.0)))
    before = cache.entries
    retrieve_by_fov(cache, make_preset(QUERY), 1)
    assert cache.entries is before


def test_choose_serves_scores_of_any_origin():
    candidates = [
        RankedEntry(entry(turn, pan(10.0)), score) for turn, score in ((1, 0.2), (2, 0.9), (3, 0.5))
    ]
    ranked, rejected = choose(candidates, 1)
    assert turns(ranked) == [2]
    assert turns(rejected) == [3, 1]


def test_negative_k_is_refused():
    with pytest.raises(ValueError, match="k got -1, wanted 0 or more"):
        choose([], -1)


def test_the_newest_entries_come_first_where_no_camera_chooses():
    cache = cache_of(*(entry(turn, pan(5.0), is_pinned=turn == 1) for turn in (1, 2, 3, 4)))
    retrieval = retrieve_recent(cache, 2)
    assert turns(retrieval.ranked) == [4, 1]
    assert turns(retrieval.rejected) == [3, 2]
    assert retrieval.query is None
    assert [item.score for item in retrieval.ranked] == [1.0, 0.25]
    assert retrieve_recent(MemoryCache(), 2).ranked == ()
