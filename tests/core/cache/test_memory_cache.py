import dataclasses

import pytest
import torch

from memv2v_core.cache.memory_cache import DAY_S, Forgotten, MemoryCache


@pytest.fixture
def three_turns(make_entry) -> MemoryCache:
    cache = MemoryCache()
    for turn in (1, 2, 3):
        cache = cache.append(make_entry(turn))
    return cache


def test_append_leaves_old_cache_unchanged(make_entry):
    empty = MemoryCache()
    one = empty.append(make_entry(1))
    two = one.append(make_entry(2))
    assert (len(empty), len(one), len(two)) == (0, 1, 2)
    assert (empty.model_name, one.model_name) == (None, "small")
    assert [entry.turn for entry in two.entries] == [1, 2]


def test_append_shares_entries_and_tensors(make_entry):
    one = MemoryCache().append(make_entry(1))
    two = one.append(make_entry(2))
    assert two.entries[0] is one.entries[0]
    pinned = two.pin(one.entries[0].entry_id)
    assert pinned.entries[0].latent.data_ptr() == one.entries[0].latent.data_ptr()


def test_cache_and_entry_are_frozen(three_turns):
    with pytest.raises(dataclasses.FrozenInstanceError):
        three_turns.entries = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        three_turns.entries[0].prompt = "x"


def test_append_of_held_content_returns_the_same_cache(three_turns, make_entry):
    assert three_turns.append(make_entry(2, prompt="again", created_s=9e9)) is three_turns


def test_append_refuses_another_model_and_names_both(three_turns, make_entry):
    with pytest.raises(
        ValueError,
        match="the cache holds latents of model 'small', got one of 'large'; load 'small'",
    ):
        three_turns.append(make_entry(4, model_name="large"))


@pytest.mark.parametrize(
    ("fields", "got"),
    [
        ({"channels": 16}, "16 channels, 6x8"),
        ({"size": (7, 8)}, "4 channels, 7x8"),
        ({"size": (6, 9)}, "4 channels, 6x9"),
    ],
)
def test_append_refuses_another_latent_size_and_names_both(three_turns, make_entry, fields, got):
    with pytest.raises(
        ValueError, match=f"holds latents of 4 channels, 6x8 .*got one of {got} .*new cache"
    ):
        three_turns.append(make_entry(4, **fields))


def test_append_takes_another_number_of_latent_frames(three_turns, make_entry):
    assert len(three_turns.append(make_entry(4, latent=torch.randn(4, 5, 6, 8)))) == 4


def test_append_refuses_nan(three_turns, make_entry):
    with pytest.raises(
        ValueError, match="latent of turn 4 got NaN or infinity in 384 of 384 numbers"
    ):
        three_turns.append(make_entry(4, latent=torch.full((4, 2, 6, 8), float("nan"))))


def test_require_fit_names_the_session(three_turns):
    three_turns.require_fit("small", (4, 6, 8))
    MemoryCache().require_fit("any", (1, 2, 3))
    with pytest.raises(ValueError, match="the cache of session 'room' holds"):
        dataclasses.replace(three_turns, session="room").require_fit("small", (4, 6, 7))


def test_newest_next_turn_and_latent_shape(three_turns):
    empty = MemoryCache()
    assert (empty.newest, empty.next_turn, empty.latent_shape) == (None, 1, None)
    assert (three_turns.newest.turn, three_turns.next_turn, three_turns.latent_shape) == (
        3,
        4,
        (4, 6, 8),
    )


def test_get_takes_an_id_or_a_unique_beginning(three_turns):
    entry = three_turns.entries[1]
    assert three_turns.get(entry.entry_id) is entry
    assert three_turns.get(entry.entry_id[:12]) is entry


def test_get_refuses_unknown_empty_and_ambiguous_ids(make_entry):
    cache = MemoryCache()
    for turn in range(
        1, 18
    ):  # 17 entries: by the pigeonhole principle two ids share their first hex digit
        cache = cache.append(make_entry(turn))
    firsts = [entry.entry_id[0] for entry in cache.entries]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(
        ValueError,
        match=f"entry id '{shared}' got [0-9]+ entries, wanted one of .*write more of it",
    ):
        cache.get(shared)
    with pytest.raises(
        ValueError, match=r"entry id 'xyz' is not in the cache, which holds .*\(turn 17\); use one"
    ):
        cache.get("xyz")
    with pytest.raises(
        ValueError, match="entry id '' is not in the cache, which holds none, it is empty"
    ):
        MemoryCache().get("")


def test_pin_returns_a_new_cache_and_remembers_the_change(three_turns):
    entry_id = three_turns.entries[0].entry_id
    pinned = three_turns.pin(entry_id[:10], True)
    assert (pinned.get(entry_id).is_pinned, three_turns.get(entry_id).is_pinned) == (True, False)
    assert pinned.changed_pins == {entry_id}
    assert pinned.pin(entry_id, True) is pinned
    assert not pinned.pin(entry_id, False).get(entry_id).is_pinned
    assert [entry.turn for entry in pinned.entries] == [1, 2, 3]


def test_forget_removes_one_entry_and_remembers_it(three_turns):
    second = three_turns.entries[1]
    forgotten = three_turns.forget(second.entry_id)
    assert [entry.turn for entry in forgotten.entries] == [1, 3]
    assert forgotten.forgotten == (Forgotten(second.entry_id, 1002.0),)
    assert len(three_turns) == 3
    assert forgotten.append(second).forgotten == ()


def test_cache_that_forgot_everything_takes_any_model(make_entry):
    entry = make_entry(1)
    empty = MemoryCache().append(entry).forget(entry.entry_id)
    assert empty.model_name is None
    assert empty.append(make_entry(1, model_name="large", channels=16)).model_name == "large"


def test_branch_ends_with_the_entry_and_leaves_the_session(three_turns, make_entry):
    saved = dataclasses.replace(three_turns, session="room").pin(three_turns.entries[0].entry_id)
    branch = saved.branch(saved.entries[1].entry_id)
    assert [entry.turn for entry in branch.entries] == [1, 2]
    assert (branch.session, branch.forgotten, branch.changed_pins) == (None, (), frozenset())
    assert branch.entries[0] is saved.entries[0]
    grown = branch.append(make_entry(3, seed=33))
    assert grown.newest.entry_id != saved.newest.entry_id
    assert len(saved) == 3
    assert saved.branch(saved.entries[0].entry_id, session="room_b").session == "room_b"


def test_of_turn_finds_one_and_refuses_none_and_several(three_turns, make_entry):
    assert three_turns.of_turn(2) is three_turns.entries[1]
    with pytest.raises(
        ValueError, match=r"turn 4 is not in the cache, which holds .* \(turn 1\), "
    ):
        three_turns.of_turn(4)
    twice = three_turns.append(dataclasses.replace(make_entry(9), turn=3))
    with pytest.raises(
        ValueError, match="turn 3 got 2 entries in the cache, wanted one; use the id of"
    ):
        twice.of_turn(3)


def test_what_a_maker_made_is_set_aside_and_comes_back_in_its_place(make_entry) -> None:
    first = make_entry(1, created_s=1.0)
    own = make_entry(2, created_s=2.0, maker="w/7")
    last = make_entry(3, created_s=3.0, maker="w/9")
    cache = MemoryCache().append(first).append(own).append(last)
    aside = cache.setting_aside({"w/7"})
    assert aside.entries == (first, last)
    assert aside.made_by("w/7") == (own,)
    assert aside.next_turn == 4
    assert aside.recall(2, "") is own
    assert [entry.turn for entry in aside.whole.entries] == [1, 2, 3]
    assert cache.setting_aside({"w/8", ""}) is cache
    back = aside.replacing(own)
    assert back.entries == (first, last, own)
    assert (back.set_aside, back.forgotten) == ((), ())


def test_a_new_turn_replaces_only_what_its_maker_made(make_entry) -> None:
    first, old = make_entry(1, maker="w/1"), make_entry(2, maker="w/7")
    new = make_entry(5, maker="w/7")
    cache = MemoryCache().append(first).append(old).setting_aside({"w/7"})
    grown = cache.replacing(new)
    assert grown.entries == (first, new)
    assert [gone.entry_id for gone in grown.forgotten] == [old.entry_id]
    without_maker = dataclasses.replace(new, maker="")
    assert cache.replacing(without_maker).forgotten == ()


def test_old_turns_expire_and_pinned_ones_stay(make_entry):
    now_s = 1_800_000_000.0
    cache = MemoryCache()
    for turn, age_days in enumerate((10, 5, 1, 0), 1):
        cache = cache.append(make_entry(turn, created_s=now_s - age_days * DAY_S))
    cache = cache.pin(cache.entries[0].entry_id)
    left = cache.expire(3, now_s)
    assert [entry.turn for entry in left.entries] == [1, 3, 4]
    assert [gone.entry_id for gone in left.forgotten] == [cache.entries[1].entry_id]
    assert cache.expire(30, now_s) is cache
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="expire_days got"):
            cache.expire(wrong, now_s)
