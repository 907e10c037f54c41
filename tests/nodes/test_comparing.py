"""CompareTurns: two videos as files of one length, a verdict in words, and the heat map."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from instruments import rendered_turns
from instruments.rendered_turns import (
    LENS,
    NUM_FRAMES,
    SIDE,
    SOURCE,
    cache_of,
    images,
    path,
    right_left_right,
)

from memv2v_core.cache.entry import Segment
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.trajectory import static_trajectory

# Entries of a session carry their source.
turn = partial(rendered_turns.turn, has_source=True)
WIDGETS = {
    "first": "turn",
    "first_turn": 1,
    "second": "turn",
    "second_turn": 0,
    "frame_rate": 8.0,
    "all_pairs": True,
}


@pytest.fixture(scope="module")
def vae(comfy_api) -> Any:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: novel_view")[2]


@pytest.fixture
def compare(comfy_api, vae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The node's result; its files go into a folder of the test."""
    from memory_v2v.nodes.comparing import CompareTurns

    folder = comfy_api.folder_paths
    monkeypatch.setattr(folder, "get_temp_directory", lambda: str(tmp_path / "temp"))
    return lambda cache, **inputs: comfy_api.run_node(
        CompareTurns, cache=cache, vae=vae, **(WIDGETS | inputs)
    )


@pytest.fixture(scope="module")
def session(vae) -> MemoryCache:
    """Turn 1 looks right, turn 2 left, turn 3 right again."""
    return right_left_right(vae, has_source=True)


def shown(result: Any) -> dict[str, Any]:
    return result.ui.as_dict()["memory_v2v_compare"][0]


def read(tmp_path: Path, file: dict[str, str]) -> torch.Tensor:
    """Frames (F, H, W, 3) in [0, 1] of a written file."""
    with av.open(str(tmp_path / "temp" / file["filename"])) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.stack([torch.from_numpy(picture) for picture in pictures]) / 255


def test_two_turns_become_files_and_words(compare, session: MemoryCache, vae, tmp_path) -> None:
    result = compare(session, source_camera=SOURCE)
    facts, lines = shown(result), result[0].splitlines()
    assert lines[0].startswith("turns 1 and 3 agree: 0.0")
    assert lines[1] == "All pairs where the source never looked:"
    assert "nan" not in result[0].lower()
    assert sum(line.startswith("- turns ") for line in lines) == 3
    assert "- turns 1 and 2 look at the same place only where the source looked too" in result[0]
    assert (facts["first"]["name"], facts["second"]["name"]) == ("turn 1", "turn 3")
    assert (facts["num_frames"], facts["frame_rate"]) == (NUM_FRAMES, 8.0)
    assert facts["verdict"] + "." == lines[0]
    for side, entry in (("first", session.entries[0]), ("second", session.entries[2])):
        with torch.inference_mode():
            wanted = vae.decode(entry.latent[None])[0]
        assert (read(tmp_path, facts[side]) - wanted.cpu()).abs().mean() < 0.03
    assert read(tmp_path, facts["heat"]).shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert result[1].shape == (NUM_FRAMES, SIDE, SIDE, 3)
    assert result.ui.as_dict()["text"] == (result[0],)


def test_videos_that_cannot_be_measured_are_still_shown(compare, vae, tmp_path) -> None:
    cache = cache_of(turn(vae, 1, path("pan_right", 40)), turn(vae, 2, path("dolly_in", 0.5)))
    result = compare(cache)
    assert result[0].startswith("turns 1 and 2 cannot be measured: their cameras stand 0.5")
    assert shown(result)["heat"] is None
    assert len(read(tmp_path, shown(result)["second"])) == NUM_FRAMES
    assert result[1].shape[0] == 1


def test_a_turn_beside_its_source(compare, session: MemoryCache) -> None:
    result = compare(session, first="source", all_pairs=False)
    assert result[0].startswith("source and turn 3 agree: 0.0")
    assert "All pairs" not in result[0]
    assert "source_camera is not connected: the source's camera counts as standing" in result[0]
    assert shown(compare(session, first="source", source_camera=SOURCE))["first"]["name"] == (
        "source"
    )


def test_connected_frames_are_filmed_along_the_path_of_the_turn(
    compare, session: MemoryCache, tmp_path
) -> None:
    without = images(path("pan_right", 32), seed=2)
    result = compare(session, first="connected frames", first_images=without, source_camera=SOURCE)
    assert result[0].startswith("first_images and turn 3 differ: 0.")
    assert "first_images count as filmed along the path of turn 3" in result[0]
    both = compare(
        MemoryCache(),
        first="connected frames",
        second="connected frames",
        first_images=without[:, :, :-1],
        second_images=without[:2, :, :-1],
        source_camera=SOURCE,
    )
    assert "agree: 0.000, over 100 % of the picture" in both[0]
    assert "the first 2 are compared" in both[0]
    # Browsers play even sides alone.
    assert read(tmp_path, shown(both)["first"]).shape == (2, SIDE, SIDE, 3)


def test_a_turn_beside_itself_and_others_without_memory(compare, vae, tmp_path) -> None:
    right = turn(vae, 1, path("pan_right", 40))
    saw_it = turn(vae, 2, path("pan_right", 32), memory_ids=(right.entry_id,))
    other_scene = turn(vae, 2, path("pan_right", 32), seed=2).latent
    cache = cache_of(right, saw_it.beside(other_scene))
    result = compare(cache, second="without memory", source_camera=SOURCE)
    assert result[0].startswith("turn 1 and turn 2 without memory differ: 0.")
    assert shown(result)["second"]["name"] == "turn 2 without memory"
    with torch.inference_mode():
        wanted = vae.decode(other_scene[None])[0]
    assert (read(tmp_path, shown(result)["second"]) - wanted.cpu()).abs().mean() < 0.03
    # The number to compare with, although there is one pair of turns alone.
    assert "- turns 1 and 2 agree: 0.0" in result[0]
    itself = compare(cache, first="without memory", first_turn=2, source_camera=SOURCE)
    assert itself[0].startswith("turn 2 without memory and turn 2 differ: 0.")


def test_a_turn_that_was_not_made_without_memory_says_what_to_do(compare, vae) -> None:
    right = turn(vae, 1, path("pan_right", 40))
    cache = cache_of(right, turn(vae, 2, path("pan_right", 32), memory_ids=(right.entry_id,)))
    with pytest.raises(ValueError, match="turn 2 was not made without memory; switch on also_wit"):
        compare(cache, second="without memory")
    with pytest.raises(ValueError, match="turn 1 saw no other turn when it was made, so without"):
        compare(cache, first="without memory", second_turn=2)
    with pytest.raises(ValueError, match="first and second are both turn 2 without memory, wanted"):
        compare(cache, first="without memory", first_turn=2, second="without memory")


def test_a_turn_of_other_nodes_and_a_segment_say_what_is_true_of_them(compare, vae) -> None:
    right, left = path("pan_right", 40), path("pan_left", 40)
    imported = turn(vae, 1, right, mode="imported")
    segment = turn(vae, 2, left, segment=Segment(0, 0, 3), memory_ids=(imported.entry_id,))
    cache = cache_of(imported, segment)
    with pytest.raises(ValueError, match="turn 1 was made by other nodes, so nobody knows it"):
        compare(cache, first="without memory")
    with pytest.raises(ValueError, match="Edit Long Video has no such input: run it with mode 'in"):
        compare(cache, second="without memory")


def test_two_takes_without_memory_are_told_apart(compare, vae) -> None:
    right = turn(vae, 1, path("pan_right", 40))
    seen = {"memory_ids": (right.entry_id,)}
    takes = [turn(vae, 2, path("pan_right", 32), seed=seed, **seen) for seed in (1, 2)]
    cache = cache_of(right, *(take.beside(take.latent.flip(-1)) for take in takes))
    ids = [take.entry_id[:8] for take in takes]
    given = dict(zip(("first_entry", "second_entry"), ids, strict=True))
    given |= dict.fromkeys(("first", "second"), "without memory") | {"first_turn": 2}
    text = compare(cache, **given)[0]
    names = [f"turn 2 without memory ({entry})" for entry in ids]
    assert text.startswith(" and ".join(names))


def test_takes_of_one_turn_are_told_apart(compare, vae) -> None:
    takes = turn(vae, 1, path("pan_right", 40)), turn(vae, 1, path("pan_right", 40), seed=2)
    cache = cache_of(*takes, turn(vae, 2, path("pan_right", 32)))
    report = compare(cache)[0]
    assert f"turn 1 has 2 takes: {takes[1].entry_id[:8]} is shown, the newest one" in report
    assert f"- turns 1 ({takes[0].entry_id[:8]}) and 1 ({takes[1].entry_id[:8]}) differ" in report
    chosen = compare(cache, first_entry=takes[0].entry_id[:8], second_entry=takes[1].entry_id)
    assert chosen[0].startswith(f"turns 1 ({takes[0].entry_id[:8]}) and 1 (")


def test_the_list_of_pairs_has_an_end_and_says_so(compare, vae) -> None:
    cache = cache_of(*(turn(vae, i + 1, path("pan_right", 20 + i)) for i in range(10)))
    report = compare(cache)[0]
    assert report.count("- turns ") == 28
    assert "- turns 1 and 4 agree" in report  # turn 1 is chosen
    assert "of 10 turns the 8 newest and the chosen ones are listed" in report


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"first_turn": 7}, "turn 7 is not in the cache"),
        ({"first_turn": 3}, "first and second are both turn 3, wanted two videos"),
        ({"first": "source", "second": "source"}, "first and second are both the source"),
        ({"first": "connected frames"}, "nothing is connected to first_images"),
        (
            {"first": "connected frames", "first_images": torch.zeros(3, 32, 48, 3)},
            "turn 3 got frames of 64x64, wanted 48x32 as first_images",
        ),
        (
            {"first": "source", "source_camera": static_trajectory(2, LENS)},
            "source_camera got 2 frames, wanted 3 as the source has",
        ),
    ],
)
def test_a_choice_that_is_not_there_is_named(compare, session, inputs, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(session, **inputs)


def test_a_turn_without_its_source_says_what_to_connect(compare, vae) -> None:
    cache = cache_of(turn(vae, 1, path("pan_right", 40), has_source=False))
    with pytest.raises(ValueError, match="turn 1 holds none; connect the source's frames to first"):
        compare(cache, first="source")


def test_another_models_vae_is_named_by_its_channels(compare, vae, monkeypatch) -> None:
    cache = cache_of(turn(vae, 1, path("pan_right", 40)), turn(vae, 2, path("pan_right", 32)))
    monkeypatch.setattr(vae, "latent_channels", 48)
    with pytest.raises(ValueError, match="vae decodes latents of 48 channels, wanted 16"):
        compare(cache)


def test_unused_frames_are_named(compare, session: MemoryCache) -> None:
    report = compare(session, first_images=images(SOURCE))[0]
    assert "first_images is connected but not shown; set first to 'connected frames'" in report
