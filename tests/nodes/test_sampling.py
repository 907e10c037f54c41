"""MemoryV2VSampler: turns, the growing cache, and sessions on disk."""

import io
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_names import session_folder
from memv2v_core.cache.storage import load_session
from memv2v_core.retrieval.selection import RankedEntry, Retrieval, retrieve_by_fov
from memv2v_core.retrieval.video_fov import VideoFovConfig
from memv2v_core.tokens.budget import TokenPlan
from memv2v_core.tokens.merging import MergeConfig

SETTINGS = {"steps": 2, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple"}


@pytest.fixture
def run_turn(comfy_api, tiny_model, examples):
    """The whole output of MemoryV2VSampler for one turn."""
    from memory_v2v.nodes.sampling import MemoryV2VSampler

    def run(motion: str = "pan_left", seed: int = 5, **inputs):
        given = {
            "source": {"samples": examples.latent(0)},
            "target_camera": examples.path(motion),
            **inputs,
        }
        return comfy_api.run_node(
            MemoryV2VSampler, model=tiny_model, seed=seed, **SETTINGS, **given
        )

    return run


@pytest.fixture
def turn(run_turn):
    """The outputs of MemoryV2VSampler for one turn."""
    return lambda *args, **inputs: run_turn(*args, **inputs).result


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch):
    """Lets the user press stop after the first step."""
    import comfy.model_management

    from memory_v2v.nodes.host.live.run import LiveRun

    def stop(live, step, x0, x, total_steps):
        comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(LiveRun, "callback", stop)
    yield comfy.model_management.InterruptProcessingException
    comfy.model_management.interrupt_current_processing(False)


def test_sampler_equals_apply_memory_with_ksampler(
    comfy_api, tiny_model, turn, ksampler, examples
) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory

    given = {
        "source": {"samples": examples.latent(0)},
        "target_camera": examples.path("pan_left"),
        "plan": examples.plan(merging=MergeConfig()),
    }
    patched, positive, negative, latent = comfy_api.run_node(
        ApplyMemory, model=tiny_model, **given
    ).result
    sampled, cache = turn(plan=given["plan"])
    assert torch.equal(sampled["samples"], ksampler(patched, positive, negative, latent, seed=5))
    assert torch.equal(cache.newest.latent, sampled["samples"][0])


def test_each_turn_appends_to_the_cache_that_entered(turn, examples) -> None:
    _, first = turn("pan_left", seed=1)
    retrieval = retrieve_by_fov(first, examples.path("pan_right"), 3, VideoFovConfig())
    _, second = turn(
        "pan_right", seed=2, cache=first, plan=TokenPlan(retrieval, (4,), MergeConfig())
    )
    assert (len(first), len(second)) == (1, 2)
    assert second.entries[0] is first.newest
    entry = second.newest
    assert (entry.turn, entry.seed, entry.mode, entry.num_frames) == (2, 2, "trained", 3)
    assert entry.parent_id == first.newest.entry_id
    assert torch.equal(entry.source_latent, examples.latent(0)[0])
    assert torch.equal(entry.camera.c2w, examples.path("pan_right").c2w)


def test_entry_has_a_thumbnail_in_preview_colours(turn, tiny_model) -> None:
    sampled, cache = turn()
    thumbnail = cache.newest.thumbnail
    assert thumbnail.shape == (16, 16, 3)
    assert thumbnail.dtype == torch.uint8
    form = tiny_model.model.latent_format
    latent = tiny_model.model.process_latent_in(sampled["samples"])[0, :, 1].movedim(0, -1)
    colours = latent @ torch.tensor(form.latent_rgb_factors) + torch.tensor(
        form.latent_rgb_factors_bias
    )
    assert (thumbnail - (colours / 2 + 0.5).clamp(0, 1) * 255).abs().max() <= 1.01


def test_entry_has_a_loop_of_every_latent_frame(turn) -> None:
    _, cache = turn()
    loop = cache.newest.loop
    assert loop.dtype == torch.uint8
    with Image.open(io.BytesIO(loop.numpy().tobytes())) as picture:
        assert (picture.format, picture.n_frames, picture.size) == ("WEBP", 3, (16, 16))


def test_entry_keeps_the_kernels_of_its_memories(turn, examples) -> None:
    _, first = turn(seed=1)
    retrieval = Retrieval(examples.path("pan_right"), (RankedEntry(first.newest, 1.0),))
    plan = TokenPlan(retrieval, (8,), MergeConfig())
    _, second = turn("pan_right", seed=2, cache=first, plan=plan)
    entry = second.newest
    assert (entry.memory_ids, entry.memory_kernels) == ((first.newest.entry_id,), (8,))


def test_a_named_session_is_on_disk_after_each_turn(comfy_api, turn) -> None:
    from memory_v2v.nodes.host.sessions.folders import sessions_root

    folder = session_folder(sessions_root(), "kitchen")
    assert Path(comfy_api.folder_paths.get_output_directory()) in folder.parents
    _, first = turn(seed=1, cache=MemoryCache(session="kitchen"))
    assert [entry.entry_id for entry in load_session(folder).cache.entries] == [
        first.newest.entry_id
    ]
    _, second = turn(seed=2, cache=first)
    assert len(load_session(folder).cache) == len(second) == 2


def test_a_turn_holds_what_it_would_be_without_memory(turn, examples) -> None:
    _, first = turn(seed=1, also_without_memory=True)
    # It saw nothing, so there is nothing to compare.
    assert not first.newest.has_without_memory
    retrieval = Retrieval(examples.path("pan_right"), (RankedEntry(first.newest, 1.0),))
    plan = TokenPlan(retrieval, (4,), MergeConfig())
    sampled, second = turn("pan_right", seed=2, cache=first, plan=plan, also_without_memory=True)
    usual, without_switch = turn("pan_right", seed=2, cache=first, plan=plan)
    assert torch.equal(sampled["samples"], usual["samples"])
    assert second.newest.entry_id == without_switch.newest.entry_id
    nothing_seen = turn("pan_right", seed=2, cache=first, plan=plan.without_memories())[0]
    assert torch.equal(second.newest.without_memory, nothing_seen["samples"][0])
    assert not torch.equal(second.newest.without_memory, second.newest.latent)


def test_a_comparison_that_cannot_be_made_takes_no_turn_away(
    run_turn, examples, monkeypatch
) -> None:
    from memory_v2v.nodes.host.sampling import taken_turn

    _, first = run_turn(seed=1).args
    retrieval = Retrieval(examples.path("pan_right"), (RankedEntry(first.newest, 1.0),))
    given = {
        "cache": first,
        "plan": TokenPlan(retrieval, (4,), MergeConfig()),
        "also_without_memory": True,
    }
    output = run_turn("pan_right", seed=2, source=None, **given)
    assert len(output.args[1]) == 2
    text = output.ui.as_dict()["text"][0]
    assert "not made without memory: source is not connected, so nothing but noise" in text
    # The report tells of the turn's own calls alone.
    both = run_turn("pan_right", seed=3, **given).ui.as_dict()["text"][0]
    given["also_without_memory"] = False
    alone = run_turn("pan_right", seed=3, **given).ui.as_dict()["text"][0]
    assert both == alone.replace(alone.splitlines()[-1], both.splitlines()[-1])
    assert both.endswith(", also made without memory")
    given["also_without_memory"] = True
    sample = taken_turn.sample_without_memory
    monkeypatch.setattr(taken_turn, "sample_without_memory", lambda *args: sample(*args) * math.nan)
    broken = run_turn("pan_right", seed=4, **given)
    assert len(broken.args[1]) == 2
    assert (
        "not made without memory: without_memory of turn 2 got NaN"
        in (broken.ui.as_dict()["text"][0])
    )


def test_an_interrupted_turn_keeps_all_finished_ones(turn, request) -> None:
    from memory_v2v.nodes.host.sessions.folders import sessions_root

    _, first = turn(seed=1, cache=MemoryCache(session="stopped"))
    stopped = request.getfixturevalue("interrupt")
    with pytest.raises(stopped):
        turn(seed=2, cache=first)
    loaded = load_session(session_folder(sessions_root(), "stopped"))
    assert [entry.entry_id for entry in loaded.cache.entries] == [first.newest.entry_id]
    assert loaded.skipped == ()
    assert loaded.notices == ()


def test_a_turn_that_came_out_as_nan_is_not_remembered(comfy_api, turn, monkeypatch) -> None:
    import comfy.sample

    from memory_v2v.nodes.host.sessions.folders import sessions_root

    broken = torch.full((1, 16, 3, 16, 16), math.nan)
    monkeypatch.setattr(comfy.sample, "sample", lambda *args, **kwargs: broken)
    with pytest.raises(
        ValueError, match="latent of turn 1 got NaN or infinity .* sample the turn again"
    ):
        turn(cache=MemoryCache(session="broken"))
    assert not session_folder(sessions_root(), "broken").exists()


def test_progress_leaves_no_still_preview(turn, monkeypatch) -> None:
    import comfy.utils
    import latent_preview

    seen = []

    def hook(value, total, preview, node_id=None):
        seen.append((value, total, preview))

    monkeypatch.setattr(
        latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB
    )
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    turn()
    # A still that is sent stays listed as the node's result.
    assert seen == [(1, 2, None), (2, 2, None)]


def test_a_cache_of_another_size_is_refused_before_sampling(
    comfy_api, turn, examples, monkeypatch
) -> None:
    monkeypatch.setattr(comfy_api.nodes, "common_ksampler", lambda *args: pytest.fail("sampled"))
    other = MemoryCache().append(examples.entry(1, side=24))
    with pytest.raises(ValueError, match="24x24 .*got one of .*16x16"):
        turn(cache=other)


def test_a_turn_without_a_path_is_refused(turn) -> None:
    with pytest.raises(
        ValueError, match="target_camera is not connected, wanted the path of this turn"
    ):
        turn(source=None, target_camera=None)
