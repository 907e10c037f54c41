"""MemoryCache and RecallTurn: sessions that stay, turns that users manage and take out again."""

from pathlib import Path

import pytest
import torch

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory

MODEL_NAME = "built-in: novel_view"


@pytest.fixture(scope="module")
def model(comfy_api):
    from memory_v2v.nodes.loading import load_builtin_model

    with torch.inference_mode():
        return load_builtin_model("novel_view")


def path(num_frames: int = 3) -> CameraTrajectory:
    return make_preset(PresetConfig("pan_right", 30.0, num_frames))


def latent(seed: int, num_latent: int = 3, batch: int = 1) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {"samples": torch.randn(batch, 16, num_latent, 16, 16, generator=generator)}


def run(
    comfy_api, session: str = "", action: str = "none", entry: str = "", **inputs
) -> tuple[MemoryCache, str]:
    from memory_v2v.nodes.cache import MemoryCacheNode

    return comfy_api.run_node(
        MemoryCacheNode, session=session, action=action, entry=entry, **inputs
    ).args


def recall(
    comfy_api, cache: MemoryCache, turn: int = 0, entry: str = ""
) -> tuple[dict, CameraTrajectory, str]:
    from memory_v2v.nodes.cache import RecallTurn

    return comfy_api.run_node(RecallTurn, cache=cache, turn=turn, entry=entry).args


def appended(comfy_api, model, session: str = "", count: int = 2) -> MemoryCache:
    cache = None
    for seed in range(count):
        given = {} if cache is None else {"cache": cache}
        cache, _ = run(comfy_api, session, latent=latent(seed), camera=path(), model=model, **given)
    return cache


def folder(comfy_api, session: str) -> Path:
    return Path(comfy_api.folder_paths.get_output_directory()) / "memory_v2v" / session


def test_without_a_name_the_cache_is_new_and_empty(comfy_api) -> None:
    cache, contents = run(comfy_api)
    assert len(cache) == 0
    assert cache.session is None
    assert contents == "cache in the graph: 0 turns"


def test_a_native_result_is_appended_as_the_next_turn(comfy_api, model) -> None:
    cache = appended(comfy_api, model)
    assert [entry.turn for entry in cache.entries] == [1, 2]
    assert cache.model_name == MODEL_NAME
    assert cache.entries[1].parent_id == cache.entries[0].entry_id
    assert torch.equal(cache.entries[0].latent, latent(0)["samples"][0])


def test_appending_leaves_the_old_cache_unchanged(comfy_api, model) -> None:
    first = appended(comfy_api, model, count=1)
    second, _ = run(comfy_api, cache=first, latent=latent(5), camera=path(), model=model)
    assert len(first) == 1
    assert len(second) == 2


def test_a_named_session_is_there_again(comfy_api, model) -> None:
    made = appended(comfy_api, model, "kitchen")
    loaded, contents = run(comfy_api, "kitchen")
    assert [entry.entry_id for entry in loaded.entries] == [
        entry.entry_id for entry in made.entries
    ]
    assert torch.equal(loaded.entries[1].latent, made.entries[1].latent)
    assert contents.startswith("session 'kitchen': 2 turns of built-in: novel_view")
    assert made.entries[0].entry_id[:8] in contents


def test_a_connected_cache_is_saved_under_the_name(comfy_api, model) -> None:
    cache = appended(comfy_api, model)
    named, _ = run(comfy_api, "saved_later", cache=cache)
    assert named.session == "saved_later"
    assert cache.session is None
    assert len(run(comfy_api, "saved_later")[0]) == 2


def test_pin_and_unpin_stay_on_disk(comfy_api, model) -> None:
    first = appended(comfy_api, model, "pins").entries[0].entry_id
    pinned, contents = run(comfy_api, "pins", "pin", first[:8])
    assert pinned.get(first).is_pinned
    assert "pinned" in contents
    assert run(comfy_api, "pins")[0].get(first).is_pinned
    run(comfy_api, "pins", "unpin", first[:8])
    assert not run(comfy_api, "pins")[0].get(first).is_pinned


def test_forget_removes_the_file_and_may_run_twice(comfy_api, model) -> None:
    first = appended(comfy_api, model, "forgetful").entries[0].entry_id
    file = folder(comfy_api, "forgetful") / f"{first}.safetensors"
    assert file.exists()
    assert len(run(comfy_api, "forgetful", "forget", first[:8])[0]) == 1
    assert not file.exists()
    again, contents = run(comfy_api, "forgetful", "forget", first[:8])
    assert len(again) == 1
    assert "was forgotten earlier" in contents


def test_branch_goes_on_from_an_earlier_turn_and_leaves_the_session(comfy_api, model) -> None:
    first = appended(comfy_api, model, "trunk").entries[0].entry_id
    branch, _ = run(comfy_api, "trunk", "branch", first[:8])
    assert len(branch) == 1
    assert branch.session is None
    named, _ = run(comfy_api, "twig", cache=branch)
    grown, _ = run(comfy_api, cache=named, latent=latent(9), camera=path(), model=model)
    assert len(grown) == 2
    assert len(run(comfy_api, "trunk")[0]) == 2
    assert {entry.entry_id for entry in run(comfy_api, "twig")[0].entries} == {
        e.entry_id for e in grown.entries
    }


def test_a_broken_file_is_named_and_the_rest_loads(comfy_api, model) -> None:
    broken = appended(comfy_api, model, "damaged").entries[0].entry_id
    file = folder(comfy_api, "damaged") / f"{broken}.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    cache, contents = run(comfy_api, "damaged")
    assert len(cache) == 1
    assert f"skipped {broken}.safetensors" in contents


def test_a_session_that_changed_on_disk_is_loaded_again(comfy_api, model) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode

    def state(**inputs) -> str:
        return MemoryCacheNode.fingerprint_inputs(
            session="watched", action="none", entry="", **inputs
        )

    absent = state()
    cache = appended(comfy_api, model, "watched", count=1)
    one = state()
    run(comfy_api, cache=cache, latent=latent(7), camera=path(), model=model)
    assert len({absent, one, state()}) == 3
    assert state() == state()
    assert state(cache=None) == ""
    assert MemoryCacheNode.fingerprint_inputs(session="") == ""


@pytest.mark.parametrize("name", ["../escape", "a/b", "con", "x" * 65])
def test_names_that_are_no_folder_are_refused_before_the_run(comfy_api, name: str) -> None:
    from memory_v2v.nodes.cache import MemoryCacheNode

    assert "session name got" in MemoryCacheNode.validate_inputs(name)
    with pytest.raises(ValueError, match="session name got"):
        run(comfy_api, name)


def test_a_turn_needs_its_model_and_camera(comfy_api, model) -> None:
    with pytest.raises(ValueError, match="model is not connected"):
        run(comfy_api, latent=latent(0), camera=path())
    with pytest.raises(ValueError, match="camera is not connected"):
        run(comfy_api, latent=latent(0), model=model)
    with pytest.raises(ValueError, match="camera got 5 frames, wanted 3"):
        run(comfy_api, latent=latent(0), camera=path(5), model=model)
    with pytest.raises(ValueError, match="latent got 2 videos, wanted 1; take one"):
        run(comfy_api, latent=latent(0, batch=2), camera=path(), model=model)


def test_a_latent_of_another_size_is_refused_with_both_sizes(comfy_api, model) -> None:
    cache = appended(comfy_api, model, count=1)
    small = {"samples": torch.zeros(1, 16, 3, 8, 8)}
    with pytest.raises(ValueError, match="16x16.*8x8"):
        run(comfy_api, cache=cache, latent=small, camera=path(), model=model)


def test_actions_need_an_entry_that_exists(comfy_api, model) -> None:
    cache = appended(comfy_api, model, count=1)
    with pytest.raises(ValueError, match="entry is empty, wanted the id of the turn to pin"):
        run(comfy_api, action="pin", cache=cache)
    with pytest.raises(ValueError, match="'ffff_no' is not in the cache, which holds"):
        run(comfy_api, action="forget", entry="ffff_no", cache=cache)


def test_a_turn_is_recalled_from_disk_bit_equal(comfy_api, model) -> None:
    appended(comfy_api, model, "yesterday", count=3)
    cache, _ = run(comfy_api, "yesterday")
    for turn, seed in ((1, 0), (2, 1), (0, 2)):
        recalled, camera, info = recall(comfy_api, cache, turn)
        assert torch.equal(recalled["samples"], latent(seed)["samples"])
        assert torch.equal(camera.c2w, path().c2w)
        assert info.startswith(
            f"turn {turn or 3}  {cache.entries[seed].entry_id[:8]}  seed 0  3 frames  imported"
        )
    by_id, _, _ = recall(comfy_api, cache, entry=cache.entries[1].entry_id[:8])
    assert torch.equal(by_id["samples"], latent(1)["samples"])


def test_changing_a_recalled_latent_leaves_the_memory(comfy_api, model) -> None:
    cache = appended(comfy_api, model, count=1)
    recalled, _, _ = recall(comfy_api, cache)
    with torch.inference_mode():
        recalled["samples"].zero_()
    assert torch.equal(cache.entries[0].latent, latent(0)["samples"][0])


def test_a_turn_that_is_not_there_is_named(comfy_api, model) -> None:
    cache = appended(comfy_api, model, count=2)
    with pytest.raises(ValueError, match="the cache holds no turn, wanted at least one to recall"):
        recall(comfy_api, MemoryCache())
    with pytest.raises(ValueError, match="turn 7 is not in the cache, which holds"):
        recall(comfy_api, cache, 7)
    with pytest.raises(ValueError, match="turn got 2, wanted 1, the number of entry"):
        recall(comfy_api, cache, 2, cache.entries[0].entry_id[:8])


def test_a_recalled_turn_goes_back_in_as_a_branch_of_its_own(comfy_api, model) -> None:
    cache = appended(comfy_api, model, count=2)
    recalled, camera, _ = recall(comfy_api, cache, 1)
    refined = {"samples": recalled["samples"] * 0.5}
    grown, _ = run(comfy_api, cache=cache, latent=refined, camera=camera, model=model)
    assert [entry.turn for entry in grown.entries] == [1, 2, 3]
    assert torch.equal(grown.newest.latent, refined["samples"][0])


def test_turns_expire_where_the_user_asks_for_it(comfy_api, model, monkeypatch):
    import time

    from memory_v2v.nodes.cache import MemoryCacheNode

    cache = appended(comfy_api, model, "fading")
    pinned, _ = run(comfy_api, "fading", action="pin", entry=cache.entries[0].entry_id)
    later_s = time.time() + 10 * 86_400
    monkeypatch.setattr(time, "time", lambda: later_s)
    kept, _ = run(comfy_api, "fading", expire_days=30.0)
    assert [entry.turn for entry in kept.entries] == [1, 2]
    left, text = run(comfy_api, "fading", expire_days=7.0)
    assert [entry.turn for entry in left.entries] == [1]
    assert "was older than 7 days: deleted" in text
    gone = pinned.entries[1].entry_id
    assert not list(folder(comfy_api, "fading").glob(f"{gone}*"))
    # What somebody connects is theirs, and an action on an expired turn is said.
    made = appended(comfy_api, model, "fresh")
    again, _ = run(comfy_api, "fresh", cache=made, expire_days=0.001)
    assert len(again) == 2
    _, text = run(comfy_api, "fading", action="unpin", entry=gone, expire_days=7.0)
    assert "was forgotten earlier" in text
    # A clock that is behind deletes nothing.
    monkeypatch.setattr(time, "time", lambda: later_s - 4000 * 86_400)
    kept, text = run(comfy_api, "fading", expire_days=7.0)
    assert len(kept) == 1
    assert "newer than this machine's clock" in text
    monkeypatch.setattr(time, "time", lambda: later_s)
    # The next day may be the last one of a turn, so the node runs again.
    today = MemoryCacheNode.fingerprint_inputs(session="fading", expire_days=7.0)
    monkeypatch.setattr(time, "time", lambda: later_s + 86_400)
    assert MemoryCacheNode.fingerprint_inputs(session="fading", expire_days=7.0) != today
