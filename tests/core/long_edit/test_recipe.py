"""The entries of a long edit's segments."""

from dataclasses import replace

import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.long_edit.recipe import (
    chosen_of,
    entries_of,
    entry_made_by,
    seen_by,
    without_segment,
)
from memv2v_core.resuming.recipe import Recipe


def edit(
    idx: int, memories: tuple[MemoryEntry, ...] = (), recipe: str = "a", seed: int = 0
) -> MemoryEntry:
    latent = torch.full((2, 3, 2, 2), float(100 * seed + idx))
    return MemoryEntry.of(
        latent,
        static_trajectory(3, is_assumed=True),
        "model",
        3,
        turn=idx + 1,
        created_s=float(idx),
        segment=Segment(idx, 3 * idx, 3),
        memory_ids=tuple(entry.entry_id for entry in memories),
        recipe=recipe,
        seed=seed,
    )


def cache_of(*entries: MemoryEntry) -> MemoryCache:
    cache = MemoryCache()
    for entry in entries:
        cache = cache.append(entry)
    return cache


def test_an_entry_is_found_by_its_frames_and_its_recipe() -> None:
    old, new, other = edit(1, recipe="a"), edit(1, recipe="b", seed=1), edit(2)
    cache = cache_of(old, new, other)
    segment = Segment(1, 3, 3)
    assert entry_made_by(cache, segment, Recipe("a")) is old
    assert entry_made_by(cache, segment, Recipe("b")) is new
    assert entry_made_by(cache, segment, Recipe("c")) is None
    assert entry_made_by(cache, replace(segment, start=4), Recipe("a")) is None
    assert chosen_of(cache, segment) is new
    assert chosen_of(cache, replace(segment, num_frames=2)) is None
    pinned = cache.pin(old.entry_id)
    assert chosen_of(pinned, segment).entry_id == old.entry_id
    assert entries_of(cache, 1) == (old, new)


def test_a_segment_sees_only_earlier_ones_in_the_videos_order() -> None:
    entries = {idx: edit(idx) for idx in (2, 0, 1)}
    cache = seen_by(entries, Segment(2, 6, 3), "model")
    assert [entry.segment.idx for entry in cache.entries] == [0, 1]
    assert len(seen_by(entries, Segment(0, 0, 3), "model")) == 0


def test_replacing_a_segment_forgets_all_its_entries_and_no_other() -> None:
    cache = without_segment(cache_of(edit(0), edit(1), edit(1, seed=1), edit(2)), 1)
    assert [entry.segment.idx for entry in cache.entries] == [0, 2]
    assert len(cache.forgotten) == 2


def test_a_turn_of_no_segment_is_left_alone() -> None:
    turn = replace(edit(0), segment=None)
    assert entries_of(cache_of(turn), 0) == ()
    assert len(without_segment(cache_of(turn), 0)) == 1
