"""What of an earlier run is finished, stale, or to be made."""

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.resuming.outcomes import outcome_counts, outcome_text
from memv2v_core.resuming.recipe import (
    Recipe,
    content_hash,
    redo_seed_of,
    stale_entries,
    state_of,
    unit_seed,
)
from memv2v_core.resuming.settings import parse_units


def made(
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
        memory_ids=tuple(entry.entry_id for entry in memories),
        recipe=recipe,
        seed=seed,
    )


def test_units_are_named_from_one() -> None:
    assert (
        parse_units("", 4, "turns of this list")
        == parse_units(" , ", 4, "turns of this list")
        == frozenset()
    )
    assert parse_units("3", 4, "turns of this list") == {2}
    assert parse_units("2,4; 1  2", 4, "turns of this list") == {0, 1, 3}


@pytest.mark.parametrize("text", ["0", "5", "two", "-1", "1-3", "2.0"])
def test_what_is_no_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"redo got '{text}', .* 1 to 4, the turns of this list"):
        parse_units(text, 4, "turns of this list")


def test_units_have_noise_of_their_own() -> None:
    assert [unit_seed(7, idx) for idx in range(3)] == [7, 8, 9]
    assert unit_seed(2**64 - 1, 1) == 0


def test_a_redone_unit_stays_until_another_redo_names_it() -> None:
    redone = made(1, recipe=str(Recipe("a", redo_seed=7)))
    assert Recipe("a").is_met_by(redone)
    assert Recipe("a", redo_seed=7).is_met_by(redone)
    assert not Recipe("a", redo_seed=8).is_met_by(redone)
    assert not Recipe("b").is_met_by(redone)
    assert not Recipe("a", redo_seed=7).is_met_by(made(1, recipe="a"))


def test_an_entry_tells_the_seed_of_its_redo() -> None:
    assert redo_seed_of(made(1, recipe=str(Recipe("a", redo_seed=2**64 - 1)))) == 2**64 - 1
    assert redo_seed_of(made(1, recipe=str(Recipe("re-shoot a", redo_seed=0)))) == 0
    for text in ("", "a", str(Recipe("a")), "a redo ", "a redo -1", "a redo " + "1" * 5000):
        assert redo_seed_of(made(1, recipe=text)) is None


def test_an_entry_is_stale_when_it_saw_other_memories_than_it_would_now() -> None:
    first, again = made(0), made(0, seed=1)
    second = made(1, (first,))
    assert state_of(None, (), ()) == "missing"
    assert state_of(second, (first.entry_id,), ()) == "done"
    assert state_of(second, (again.entry_id,), ()) == "stale"
    assert state_of(second, (), ()) == "stale"
    assert state_of(second, (first.entry_id,), {first.entry_id}) == "stale"


def test_what_depends_on_a_replaced_entry_is_stale_through_others_too() -> None:
    first, again, second = made(0), made(0, seed=1), made(1)
    third = made(2, (first, second))
    fourth, fifth = made(3, (third,)), made(4, (second,))
    before, after = (first, second, third, fourth, fifth), (again, second, third, fourth, fifth)
    assert stale_entries(before) == frozenset()
    assert stale_entries(after) == {third.entry_id, fourth.entry_id}


def test_outcomes_are_said_in_words() -> None:
    assert outcome_text("kept", 0.0, "") == "kept from an earlier run"
    assert outcome_text("new", 1.26, "") == "new, 1.3 s"
    assert (
        outcome_text("new", 1.26, "it saw an old one") == "new, 1.3 s, and stale: it saw an old one"
    )
    assert outcome_text("stale", 0.0, "it saw an old one").startswith("stale: kept, but it saw")
    assert outcome_counts(["new", "kept", "kept"]) == "1 new, 2 kept, 0 stale"


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
