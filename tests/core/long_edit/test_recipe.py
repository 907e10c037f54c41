"""Which segments of a long edit are finished, stale, or to be made."""

from dataclasses import replace

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry, Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.long_edit.recipe import (
    Recipe,
    chosen_of,
    content_hash,
    entries_of,
    entry_made_by,
    seen_by,
    segment_seed,
    stale_entries,
    state_of,
    without_segment,
)
from memv2v_core.long_edit.settings import parse_segments


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


def test_segments_are_named_from_one() -> None:
    assert parse_segments("", 4) == parse_segments(" , ", 4) == frozenset()
    assert parse_segments("3", 4) == {2}
    assert parse_segments("2,4; 1  2", 4) == {0, 1, 3}


@pytest.mark.parametrize("text", ["0", "5", "two", "-1", "1-3", "2.0"])
def test_what_is_no_segment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"redo got '{text}', wanted numbers from 1 to 4"):
        parse_segments(text, 4)


def test_segments_have_noise_of_their_own() -> None:
    assert [segment_seed(7, idx) for idx in range(3)] == [7, 8, 9]
    assert segment_seed(2**64 - 1, 1) == 0


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


def test_a_redone_segment_stays_until_another_redo_names_it() -> None:
    redone = edit(1, recipe=str(Recipe("a", redo_seed=7)))
    assert Recipe("a").is_met_by(redone)
    assert Recipe("a", redo_seed=7).is_met_by(redone)
    assert not Recipe("a", redo_seed=8).is_met_by(redone)
    assert not Recipe("b").is_met_by(redone)
    assert not Recipe("a", redo_seed=7).is_met_by(edit(1, recipe="a"))


def test_an_entry_is_stale_when_it_saw_other_memories_than_it_would_now() -> None:
    first, again = edit(0), edit(0, seed=1)
    second = edit(1, (first,))
    assert state_of(None, (), ()) == "missing"
    assert state_of(second, (first.entry_id,), ()) == "done"
    assert state_of(second, (again.entry_id,), ()) == "stale"
    assert state_of(second, (), ()) == "stale"
    assert state_of(second, (first.entry_id,), {first.entry_id}) == "stale"


def test_what_depends_on_a_replaced_entry_is_stale_through_others_too() -> None:
    first, again, second = edit(0), edit(0, seed=1), edit(1)
    third = edit(2, (first, second))
    fourth, fifth = edit(3, (third,)), edit(4, (second,))
    before, after = (first, second, third, fourth, fifth), (again, second, third, fourth, fifth)
    assert stale_entries(before) == frozenset()
    assert stale_entries(after) == {third.entry_id, fourth.entry_id}


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


class Patch:
    def __init__(self, *weights: torch.Tensor) -> None:
        self.weights = weights


def test_equal_content_has_an_equal_hash() -> None:
    def parts() -> tuple:
        return (
            3,
            0.5,
            "text",
            None,
            [torch.arange(6.0).view(2, 3)],
            {"b": 1, "a": {True}},
            Patch(torch.ones(2)),
        )

    assert content_hash(*parts()) == content_hash(*parts())
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    sliced = torch.arange(12.0).view(2, 6)[:, ::2]
    assert content_hash(sliced) == content_hash(sliced.clone())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        ("1", 1),
        (None, "None"),
        ([1, [2]], [[1], 2]),
        ({"a": 1}, {"b": 1}),
        (torch.zeros(4), torch.zeros(2, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
        (torch.zeros(2), torch.tensor([0.0, 1e-7])),
        (Patch(torch.zeros(2)), Patch(torch.ones(2))),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_other_content_has_another_hash(one: object, other: object) -> None:
    assert content_hash(one) != content_hash(other)


def test_the_hash_is_the_same_in_every_process() -> None:
    # content_hash("a", 1, {"x", "y"}); Python's own hash of a text differs from process to process.
    assert content_hash("a", 1, {"x", "y"}) == "00cbcaf346cb779f178bf86c73f44645"
