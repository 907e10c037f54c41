"""Turns that are made once more without memory, after all others, to compare."""

import math
from dataclasses import replace

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.reshoot.host import ReshotTurn
from memv2v_core.reshoot.loop import FinishedReshoot, _Run, reshoot_clip
from memv2v_core.reshoot.report import describe_reshoot
from memv2v_core.reshoot.settings import TurnMemory
from memv2v_core.sampling.turn import Turn

from .conftest import (
    THREE,
    QuickHost,
    Stopped,
    ids,
    moves_of,
    outcomes,
    reshoot_of,
)


def test_turns_are_made_once_more_without_memory_after_all_are_seen(
    host: QuickHost, first: FinishedReshoot
) -> None:
    host.events.clear()
    host.sampled.clear()
    compares = reshoot_of(also_without_memory=True)
    again = reshoot_clip(compares, first.cache, host)
    # The first turn saw nothing: without memory it is the same.
    assert host.events == [
        *("1 kept", "2 kept", "3 kept"),
        *("2 without memory", "saved 3", "3 without memory", "saved 3"),
    ]
    assert (outcomes(again), ids(again)) == (["kept"] * 3, ids(first))
    assert host.sampled == [6, 7]
    nothing_seen = reshoot_clip(reshoot_of(memory=TurnMemory(k=0)), MemoryCache(), QuickHost())
    for turn, alone in zip(again.turns[1:], nothing_seen.turns[1:], strict=True):
        assert torch.equal(turn.entry.without_memory, alone.entry.latent)
        assert not torch.equal(turn.entry.without_memory, turn.entry.latent)
    assert not again.turns[0].entry.has_without_memory
    report = describe_reshoot(again.turns).splitlines()
    assert [line.endswith("; also made without memory") for line in report[1:]] == [
        *(False, True, True)
    ]
    # Once is enough, and what is held is no memory.
    host.sampled.clear()
    longer = replace(compares, moves=moves_of(THREE + "; sweep 25"))
    more = reshoot_clip(longer, again.cache, host)
    assert (outcomes(more), host.sampled) == (["kept"] * 3 + ["new"], [8, 8])
    plain = reshoot_clip(replace(longer, also_without_memory=False), first.cache, host)
    assert ids(more) == ids(plain)


@pytest.mark.parametrize("fault", ["forgotten", "not finite", "no room"])
def test_what_goes_wrong_with_one_takes_no_turn_away(
    host: QuickHost, first: FinishedReshoot, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Every turn is made by then."""
    two = first.turns[1].entry
    sample = host.sample

    def faulty(turn: Turn, seed: int, shows_progress: bool) -> torch.Tensor:
        return sample(turn, seed, shows_progress) * (math.nan if host.now == 2 else 1)

    def refused(cache: MemoryCache, turn: Turn) -> None:
        if host.events[-1] == "3 kept":
            raise ValueError("the disk is full")

    compares = reshoot_of(also_without_memory=True)
    if fault == "not finite":
        monkeypatch.setattr(host, "sample", faulty)
    elif fault == "no room":
        monkeypatch.setattr(host, "require_room", refused)
    else:
        # Another window forgets it while the last turn is shown.
        def forgets(run: _Run, reshot: ReshotTurn) -> MemoryEntry:
            if reshot.number == 2:
                run.cache = run.cache.forget(two.entry_id)
            return compared(run, reshot)

        compared = _Run.also_without_memory
        monkeypatch.setattr(_Run, "also_without_memory", forgets)
    again = reshoot_clip(compares, first.cache, host)
    assert ids(again) == ids(first)
    assert [turn.entry.has_without_memory for turn in again.turns] == [
        *(False, False, fault != "no room")
    ]
    reason = {
        "forgotten": "is not in the cache",
        "not finite": "got NaN or infinity",
        "no room": "the disk is full",
    }[fault]
    assert again.repairs[0].startswith("turn 2 was not made without memory: ")
    assert reason in again.repairs[0]


def test_a_stop_between_two_of_them_loses_the_one_in_progress(
    host: QuickHost, first: FinishedReshoot
) -> None:
    stopped = QuickHost(stop_at=3)
    with pytest.raises(Stopped):
        reshoot_clip(reshoot_of(also_without_memory=True), first.cache, stopped)
    held = {entry.turn: entry.has_without_memory for entry in stopped.saved.entries}
    assert held == {1: False, 2: True, 3: False}
    rest = reshoot_clip(reshoot_of(also_without_memory=True), stopped.saved, host)
    assert ids(rest) == ids(first)
    assert host.events[-2:] == ["3 without memory", "saved 3"]
