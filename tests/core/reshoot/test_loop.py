"""A re-shoot with a host that answers at once: what is made, kept and made again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from instruments.entry_files import rewrite

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import SavedSession, load_session, save_session
from memv2v_core.cameras.extent import Reach
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.reshoot.loop import FinishedReshoot, reshoot_clip
from memv2v_core.reshoot.report import describe_moves, describe_others, describe_reshoot
from memv2v_core.reshoot.settings import TurnMemory
from memv2v_core.resuming.settings import RedoSettings

from .conftest import (
    BASE,
    CHANNELS,
    LENS,
    NUM_FRAMES,
    SIDE,
    THREE,
    QuickHost,
    Stopped,
    ids,
    moves_of,
    outcomes,
    reshoot_of,
)


def test_every_turn_is_saved_and_shown_before_the_next_begins(
    host: QuickHost, first: FinishedReshoot
) -> None:
    assert outcomes(first) == ["new"] * 3
    assert host.events == [
        *("1 sees []", "saved 1", "1 new"),
        *("2 sees [1]", "saved 2", "2 new"),
        # Both saw a part of the sweep; the wider pan saw more of it.
        *("3 sees [1, 2]", "saved 3", "3 new"),
    ]
    assert host.sampled == [5, 6, 7]
    one, two, three = (turn.entry for turn in first.turns)
    assert (one.turn, two.turn, three.turn) == (1, 2, 3)
    assert two.memory_ids == (one.entry_id,)
    assert three.memory_kernels == (4, 4)
    assert all(entry.source_latent is not None for entry in (one, two, three))
    assert first.turns[2].memories == "turn 1 at 1x4x4, turn 2 at 1x4x4"


def test_an_unchanged_run_makes_and_encodes_nothing(
    host: QuickHost, first: FinishedReshoot
) -> None:
    host.num_encoded = 0
    again = reshoot_clip(reshoot_of(), first.cache, host)
    assert outcomes(again) == ["kept"] * 3
    assert again.cache is first.cache
    assert (len(host.sampled), host.num_encoded) == (3, 0)


@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_a_stopped_run_loses_only_the_turn_in_progress(
    host: QuickHost, first: FinishedReshoot, stop_at: int
) -> None:
    stopped = QuickHost(stop_at=stop_at)
    with pytest.raises(Stopped):
        reshoot_clip(reshoot_of(), MemoryCache(), stopped)
    assert len(stopped.saved) == stop_at - 1
    rest = reshoot_clip(reshoot_of(), stopped.saved, host)
    assert outcomes(rest) == ["kept"] * (stop_at - 1) + ["new"] * (4 - stop_at)
    assert ids(rest) == ids(first)


def test_another_path_makes_its_turn_again_and_marks_what_saw_it(
    host: QuickHost, first: FinishedReshoot
) -> None:
    changed = reshoot_of("pan_left 30; pan_left 25; sweep 30")
    again = reshoot_clip(changed, first.cache, host)
    assert outcomes(again) == ["kept", "new", "stale"]
    assert again.turns[2].stale_for == "it saw a turn that was replaced since"
    assert again.turns[2].memories.startswith("turn 1, a turn since replaced ")
    assert len(again.cache) == 3
    redone = reshoot_clip(replace(changed, redo=RedoSettings(redoes_stale=True)), again.cache, host)
    assert outcomes(redone) == ["kept", "kept", "new"]
    assert host.sampled[-1] == 7
    assert outcomes(reshoot_clip(changed, redone.cache, host)) == ["kept"] * 3


def test_a_path_more_makes_its_turn_alone(host: QuickHost, first: FinishedReshoot) -> None:
    longer = reshoot_clip(reshoot_of(THREE + "; tilt_up 20"), first.cache, host)
    assert outcomes(longer) == ["kept"] * 3 + ["new"]
    assert describe_others(longer.turns, longer.cache) == ()


def test_a_path_less_leaves_its_turn_and_says_so(host: QuickHost, first: FinishedReshoot) -> None:
    shorter = reshoot_clip(reshoot_of("pan_left 30; pan_left 20"), first.cache, host)
    assert outcomes(shorter) == ["kept"] * 2
    assert len(shorter.cache) == 3
    (line,) = describe_others(shorter.turns, shorter.cache)
    assert line.startswith("the session keeps turn 3 of paths that are no longer in the list")
    assert outcomes(reshoot_clip(reshoot_of(), shorter.cache, host)) == ["kept"] * 3


def test_one_turn_is_made_again_once_for_each_seed(host: QuickHost, first: FinishedReshoot) -> None:
    redo = reshoot_of(redo=RedoSettings(frozenset({1}), seed=40))
    again = reshoot_clip(redo, first.cache, host)
    assert outcomes(again) == ["kept", "new", "stale"]
    assert host.sampled[-1] == 41
    assert outcomes(reshoot_clip(redo, again.cache, host)) == ["kept", "kept", "stale"]
    # With the field emptied the new take stays.
    emptied = reshoot_clip(reshoot_of(), again.cache, host)
    assert ids(emptied)[1] == ids(again)[1]


def test_what_is_made_in_view_of_a_stale_turn_is_stale_itself(
    host: QuickHost, first: FinishedReshoot
) -> None:
    redo = reshoot_of(THREE + "; sweep 25", redo=RedoSettings(frozenset({0}), seed=40))
    again = reshoot_clip(redo, first.cache, host)
    assert outcomes(again) == ["new", "stale", "stale", "new"]
    assert again.turns[3].stale_for == "it saw a turn that is stale itself"


@pytest.mark.parametrize("change", ["settings", "source camera", "seed of the hash"])
def test_what_decides_all_turns_makes_all_again_and_pins_stay(
    host: QuickHost, first: FinishedReshoot, change: str
) -> None:
    source = moves_of("pan_right 2")[0].path
    changes = {
        "settings": {"settings_hash": "others"},
        "source camera": {"source_path": source},
        "seed of the hash": {"settings_hash": "seed 6", "seed": 6},
    }[change]
    pinned = first.cache.pin(first.turns[1].entry.entry_id)
    again = reshoot_clip(reshoot_of(**changes), pinned, host)
    assert outcomes(again) == ["new"] * 3
    assert [turn.entry.is_pinned for turn in again.turns] == [False, True, False]
    assert len(again.cache) == 3


def entry_of_another_node(path: CameraTrajectory) -> MemoryEntry:
    latent = torch.full((CHANNELS, NUM_FRAMES, SIDE, SIDE), 0.5)
    return MemoryEntry.of(latent, path, "quick", NUM_FRAMES, turn=1, created_s=1.0)


def test_turns_of_other_nodes_stay_and_are_seen_where_they_are_pinned(host: QuickHost) -> None:
    other = entry_of_another_node(moves_of("pan_left 10")[0].path)
    cache = MemoryCache().append(other)
    alone = reshoot_clip(reshoot_of(), cache, host)
    assert alone.turns[0].entry.memory_ids == ()
    assert len(alone.cache) == 4
    assert "also holds 1 turns of other nodes" in describe_others(alone.turns, alone.cache)[0]

    pinned = alone.cache.pin(other.entry_id)
    marked = reshoot_clip(reshoot_of(), pinned, host)
    assert outcomes(marked) == ["stale"] * 3
    assert marked.turns[0].stale_for.startswith("made now it would see the pinned turn")
    redo = RedoSettings(redoes_stale=True)
    seeing = reshoot_clip(reshoot_of(redo=redo), pinned, host)
    assert seeing.turns[0].entry.memory_ids == (other.entry_id,)
    assert all(other.entry_id in turn.entry.memory_ids for turn in seeing.turns)


def test_an_equal_turn_of_another_node_becomes_the_turn_of_the_list(
    host: QuickHost, first: FinishedReshoot
) -> None:
    made = first.turns[0].entry
    by_hand = replace(made, recipe="", turn=9)
    again = reshoot_clip(reshoot_of("pan_left 30"), MemoryCache().append(by_hand), host)
    (entry,) = again.cache.entries
    assert (entry.entry_id, entry.turn) == (made.entry_id, 1)
    assert outcomes(reshoot_clip(reshoot_of("pan_left 30"), again.cache, host)) == ["kept"]


def test_k_says_how_many_memories_a_turn_sees(host: QuickHost) -> None:
    none = reshoot_clip(reshoot_of(memory=TurnMemory(k=0)), MemoryCache(), host)
    assert [turn.entry.memory_ids for turn in none.turns] == [(), (), ()]
    one = reshoot_clip(reshoot_of(memory=TurnMemory(k=1)), MemoryCache(), host)
    assert [len(turn.entry.memory_ids) for turn in one.turns] == [0, 1, 1]
    assert TurnMemory(k=1).parts(BASE) != TurnMemory(k=0).parts(BASE)


def test_a_broken_file_is_made_again_and_named(host: QuickHost, tmp_path: Path) -> None:
    folder = tmp_path / "session"

    def save(cache: MemoryCache) -> SavedSession:
        return save_session(cache, folder)

    host.save = save
    cache = MemoryCache(session="session")
    made = reshoot_clip(reshoot_of(), cache, host)
    broken = made.turns[1].entry
    rewrite(
        folder / f"{broken.entry_id}.safetensors",
        tensors={"latent": torch.zeros(CHANNELS, NUM_FRAMES, SIDE, SIDE)},
        keeps_hashes=True,
    )
    again = reshoot_clip(reshoot_of(), load_session(folder).cache, host)
    assert outcomes(again) == ["kept", "new", "kept"]
    assert any("made again" in repair for repair in again.repairs)
    assert ids(again) == ids(made)


def test_a_session_of_another_model_is_refused_before_anything_is_sampled(host: QuickHost) -> None:
    other = replace(entry_of_another_node(moves_of("static")[0].path), model_name="other")
    with pytest.raises(ValueError, match="here: give this model and size another session"):
        reshoot_clip(reshoot_of(), MemoryCache().append(other), host)
    assert host.sampled == []


def test_the_report_names_each_turn_its_path_and_its_memories(first: FinishedReshoot) -> None:
    text = describe_reshoot(first.turns)
    assert text.startswith("3 turns: 3 new, 0 kept, 0 stale; ")
    assert "turn 1: pan_left 30, " in text
    assert "memories: none" in text
    assert text.splitlines()[2].endswith("memories: turn 1 at 1x4x4")


def test_paths_beyond_the_training_are_named_and_others_are_not() -> None:
    known = replace(BASE, reach=Reach(1.2, 0.5, 0.9))
    asked = reshoot_of("dolly_in 0.6; dolly_out 30", base=known)
    (line,) = describe_moves(asked)
    assert line.startswith("path 2, dolly_out 30: the target camera moves 30 pose units forward")
    assert describe_moves(reshoot_of("dolly_in 0.6; dolly_out 30")) == ()
    turning = replace(BASE, reach=Reach(0.0, 0.0, 0.0))
    first, second = describe_moves(replace(asked, base=turning))
    assert first.startswith("path 1, dolly_in 0.6: the target camera moves 0.6 pose units, but")
    assert second.startswith("path 2, ")
    # From the source's own first camera: it stands where the path goes.
    there = CameraTrajectory(asked.moves[1].path.c2w[-1:].expand(3, 4, 4), LENS.expand(3, 3, 3))
    named = describe_moves(replace(asked, source_path=there))
    assert [line.split(",")[0] for line in named] == ["path 1", "path 2"]


def test_a_radius_left_alone_where_cameras_move_is_named_once() -> None:
    moving = "dolly_in 0.6; pan_left 30; dolly_out 0.5"
    (line,) = describe_moves(reshoot_of(moving))
    assert line.startswith("cameras move up to 0.6 pose units and radius is 1, its default")
    assert describe_moves(reshoot_of(moving, memory=TurnMemory(radius=4.0))) == ()
    assert describe_moves(reshoot_of(moving, memory=TurnMemory(k=0))) == ()
    assert describe_moves(reshoot_of()) == ()
