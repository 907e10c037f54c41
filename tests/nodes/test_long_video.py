"""EditLongVideo: every segment made once, in view of the earlier ones, whatever happens in
between."""

from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
from instruments.long_video import (
    ALL,
    LENGTH,
    NUM_FRAMES,
    SIDE,
    STEPS,
    Result,
    defaults,
    on_disk,
    scene,
)

from memv2v_core.builtin import bundle
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.session_names import session_folder
from memv2v_core.cache.storage import save_session


@pytest.fixture
def stop_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], type[BaseException]]]:
    """Lets the user press stop after the first step of a segment, counted from 0; returns what is
    then raised.
    """
    import comfy.model_management

    from memory_v2v.nodes.host.live.run import LiveRun

    shown = LiveRun.callback

    def stop(segment: int) -> type[BaseException]:
        num_steps = 0

        def callback(live, step, x0, x, total_steps):
            nonlocal num_steps
            shown(live, step, x0, x, total_steps)
            comfy.model_management.interrupt_current_processing(num_steps == segment * STEPS)
            num_steps += 1

        monkeypatch.setattr(LiveRun, "callback", callback)
        return comfy.model_management.InterruptProcessingException

    yield stop
    monkeypatch.setattr(LiveRun, "callback", shown)
    comfy.model_management.interrupt_current_processing(False)


def test_every_segment_sees_the_one_before_and_others_like_it(run) -> None:
    result = run()
    entries = result.cache.entries
    assert result.sampled == ALL
    assert result.outcomes() == ["new"] * 4
    assert [(entry.segment.start, entry.segment.num_frames) for entry in entries] == [
        (0, 5),
        (5, 5),
        (10, 5),
        (12, 5),
    ]
    seen = result.seen()
    assert seen[:2] == [[], [0]]
    assert seen[2][0] == 1
    assert seen[3][0] == 2
    assert sorted(seen[3]) == [0, 1, 2]
    assert "segment 2: frames 6 to 10, shot 1" in result.report
    assert "segment 1 at 1x2x2" in result.report
    assert [entry.turn for entry in entries] == [1, 2, 3, 4]
    assert all(
        entry.source_latent.shape == entry.latent.shape == (48, 5, 4, 4) for entry in entries
    )
    assert result.frames.shape == (NUM_FRAMES, SIDE, SIDE, 3)


def test_a_segment_that_sees_no_memory_is_led_by_its_keyframe(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.sample

    lengths, sample = [], comfy.sample.sample

    def watched(model, noise, *args, **kwargs):
        lengths.append(noise.shape[2])
        return sample(model, noise, *args, **kwargs)

    monkeypatch.setattr(comfy.sample, "sample", watched)
    led = run()
    assert lengths == [1] + [LENGTH] * 4
    assert led.cache.entries[0].memory_ids == ()
    assert led.report.count("memories: none, led by its keyframe") == 1
    lengths.clear()
    alone = run(mode="independent", session="alone")
    assert lengths == [LENGTH] * 4
    assert alone.report.count("memories: none\n") == 4
    assert (led.latents[0] - alone.latents[0]).abs().max() > 1e-3


def test_all_is_on_disk_before_anything_is_decoded(run, edit_loaded, monkeypatch) -> None:
    def broken(latent: torch.Tensor) -> torch.Tensor:
        raise MemoryError("decoding")

    with monkeypatch.context() as patch:
        patch.setattr(edit_loaded[2], "decode", broken)
        with pytest.raises(MemoryError):
            run()
    assert len(on_disk()) == 4
    again = run()
    assert again.sampled == []
    assert again.outcomes() == ["kept"] * 4


def test_the_same_loop_wired_from_nodes_gives_the_same(comfy_api, run, edit_loaded, prompt) -> None:
    from memory_v2v.nodes.retrieval import DinoSegmentRetrieve
    from memory_v2v.nodes.sampling import MemoryV2VSampler
    from memory_v2v.nodes.tokens import DynamicTokenize
    from memory_v2v.nodes.videos.segments import SplitSegments, StitchSegments

    model, _, vae = edit_loaded
    node, clip, cache = comfy_api.run_node, scene(1, NUM_FRAMES), MemoryCache()
    sizes = {"length": LENGTH, "width": SIDE, "height": SIDE}
    split, count, info = node(
        SplitSegments, **{**defaults(SplitSegments), **sizes, "model": model, "images": clip}
    ).result
    assert count == 4
    assert "segment 4: frames 13 to 17, shot 1" in info
    for i in range(count):
        chosen = {
            **defaults(DinoSegmentRetrieve),
            "segments": split,
            "index": i + 1,
            "cache": cache,
        }
        retrieval, frames, segment, why = node(DinoSegmentRetrieve, **chosen).result
        assert frames.shape == (LENGTH, SIDE, SIDE, 3)
        assert why.shape[-1] == 3
        plan, _ = node(
            DynamicTokenize, **{**defaults(DynamicTokenize), "retrieval": retrieval}
        ).result
        with torch.inference_mode():
            source = {"samples": vae.encode(frames)}
        turn = {"source": source, "plan": plan, "cache": cache, "segment": segment, "seed": 100 + i}
        prompts = {"positive": prompt("put a hat on the box"), "negative": prompt("")}
        settings = {**defaults(MemoryV2VSampler), "model": model, "steps": STEPS}
        _, cache = node(MemoryV2VSampler, **{**settings, **prompts, **turn}).result
    joined = {**defaults(StitchSegments), "segments": split, "cache": cache, "vae": vae}
    video, images = node(StitchSegments, **joined).result
    result, wired = run(), Result(video, cache, "", [])
    assert all(map(torch.equal, wired.latents, result.latents))
    assert wired.seen() == result.seen()
    assert torch.equal(video.get_components().images, result.frames)
    with torch.inference_mode():
        assert torch.equal(images[:LENGTH], vae.decode(cache.entries[0].latent[None])[0])


def test_an_unchanged_rerun_makes_nothing(run) -> None:
    first = run()
    again = run()
    assert again.sampled == []
    assert again.outcomes() == ["kept"] * 4
    assert again.ids == first.ids
    assert torch.equal(again.frames, first.frames)


@pytest.mark.parametrize("segment", [0, 2])
def test_a_stopped_edit_goes_on_where_it_stopped(run, stop_in, segment: int) -> None:
    whole = run(session="whole")
    stopped = stop_in(segment)
    with pytest.raises(stopped):
        run(session="long_stopped")
    assert (
        segment == 0
        or [entry.segment.idx for entry in on_disk("long_stopped").entries] == ALL[:segment]
    )
    stop_in(99)
    rest = run(session="long_stopped")
    assert rest.sampled == ALL[segment:]
    assert rest.ids == whole.ids
    assert torch.equal(rest.frames, whole.frames)


def test_one_segment_is_made_anew_once_and_what_saw_it_is_marked(run) -> None:
    first = run()
    redone = run(redo="2", redo_seed=7000)
    assert redone.sampled == [7001 - 100]
    assert redone.outcomes() == ["kept", "new", "stale", "stale"]
    assert "an edit since replaced" in redone.report
    changed = [old != new for old, new in zip(first.ids, redone.ids, strict=True)]
    assert changed == [False, True, False, False]
    assert len(on_disk()) == 4
    again = run(redo="2", redo_seed=7000)
    assert again.sampled == []
    assert again.outcomes() == ["kept", "kept", "stale", "stale"]
    assert run(redo="").ids == redone.ids
    other = run(redo="2", redo_seed=8000)
    assert other.sampled == [8001 - 100]
    assert other.ids[1] not in (first.ids[1], redone.ids[1])


def test_stale_segments_are_made_again_with_their_own_noise(run) -> None:
    first = run()
    run(redo="2", redo_seed=7000)
    fresh = run(redo="2", redo_seed=7000, stale="redo")
    assert fresh.sampled == [2, 3]
    assert fresh.outcomes() == ["kept", "kept", "new", "new"]
    assert [old != new for old, new in zip(first.ids, fresh.ids, strict=True)] == [
        False,
        True,
        True,
        True,
    ]
    assert run(redo="2", redo_seed=7000).outcomes() == ["kept"] * 4
    back = run(redo="2", redo_seed=100, stale="redo")
    assert all(map(torch.equal, back.latents, first.latents))


def test_what_is_made_in_view_of_a_stale_segment_is_stale_itself(run, stop_in) -> None:
    stopped = stop_in(3)
    with pytest.raises(stopped):
        run()
    stop_in(99)
    rest = run(redo="2", redo_seed=7000)
    assert rest.outcomes() == ["kept", "new", "stale", "new"]
    assert "and stale: it saw a segment that is stale itself" in rest.report
    assert run(redo="2", redo_seed=7000).outcomes() == ["kept", "kept", "stale", "stale"]


def test_a_negative_prompt_that_nothing_reads_changes_nothing(run, prompt) -> None:
    first = run()
    again = run(negative=prompt("blurry"))
    assert again.sampled == []
    assert again.ids == first.ids
    assert run(negative=prompt("blurry"), cfg=2.0).sampled == ALL


def test_segments_of_a_longer_clip_stay_and_are_named(run) -> None:
    run()
    fewer = run(length=9)
    assert fewer.sampled == [0, 1]
    assert len(on_disk()) == 4
    assert "2 segments: 2 new" in fewer.report
    assert "also holds 2 entries" in fewer.report


@pytest.mark.parametrize("change", ["prompt", "seed", "cfg", "frames", "retrieval settings"])
def test_what_decides_the_result_starts_all_segments_anew(run, prompt, change: str) -> None:
    first = run()
    changes = {
        "prompt": {"positive": prompt("change the colour of the ball")},
        "seed": {"seed": 50},
        "cfg": {"cfg": 2.0},
        "frames": {"images": scene(2, NUM_FRAMES)},
        "retrieval settings": {"k": 1},
    }[change]
    second = run(**changes)
    assert second.sampled == ALL
    assert not set(first.ids) & set(second.ids)
    same = [torch.equal(old, new) for old, new in zip(first.latents, second.latents, strict=True)]
    assert same == [change == "retrieval settings", change == "retrieval settings", False, False]
    assert {entry.entry_id for entry in on_disk().entries} == set(second.ids)
    assert run(**changes).sampled == []


def test_a_lora_starts_all_segments_anew(run, edit_loaded) -> None:
    run()
    weight = edit_loaded[0].model.diffusion_model.blocks[0].ffn[0].weight
    changed = edit_loaded[0].clone()
    changed.add_patches(
        {"diffusion_model.blocks.0.ffn.0.weight": ("diff", (torch.ones_like(weight),))}, 0.5
    )
    assert run(model=changed).sampled == ALL
    weaker = edit_loaded[0].clone()
    weaker.add_patches(
        {"diffusion_model.blocks.0.ffn.0.weight": ("diff", (torch.ones_like(weight),))}, 0.25
    )
    assert run(model=weaker).sampled == ALL


def test_a_pinned_segment_stays_pinned_when_it_is_made_anew(run) -> None:
    from memory_v2v.nodes.host.sessions.folders import sessions_root

    first = run()
    save_session(on_disk().pin(first.ids[0]), session_folder(sessions_root(), "long"))
    redone = run(redo="1")
    assert [entry.segment.idx for entry in redone.cache.entries if entry.is_pinned] == [0]
    assert [entry.segment.idx for entry in on_disk().entries if entry.is_pinned] == [0]


def test_segments_do_not_cross_a_cut_and_a_shot_that_returns_finds_itself(run) -> None:
    clip = torch.cat((scene(1, 10), 1 - scene(2, 10), scene(1, 10)))
    result = run(images=clip, min_similarity=0.95)
    entries = result.cache.entries
    assert [(e.segment.start, e.segment.shot) for e in entries] == [
        (0, 0),
        (5, 0),
        (10, 1),
        (15, 1),
        (20, 2),
        (25, 2),
    ]
    seen = result.seen()
    assert seen[2:4] == [[], [2]]
    assert seen[4]
    assert set(seen[4]) <= {0, 1}
    as_in_the_paper = run(images=clip, shots=False, session="paper")
    assert all(entry.memory_ids for entry in as_in_the_paper.cache.entries[1:])


def test_independent_segments_see_nothing(run) -> None:
    result = run(mode="independent")
    assert result.sampled == ALL
    assert all(
        entry.memory_ids == () and entry.source_descriptor is None for entry in result.cache.entries
    )
    assert run(mode="memory").sampled == ALL


def test_fifo_edits_the_whole_video_as_one(run) -> None:
    result = run(mode="fifo", steps=5, images=scene(1, 12))
    (entry,) = result.cache.entries
    assert entry.latent.shape[1] == entry.segment.num_frames == 12
    assert result.frames.shape[0] == 12
    again = run(mode="fifo", steps=5, images=scene(1, 12))
    assert again.ids == result.ids
    assert again.outcomes() == ["kept"]


def test_progress_runs_over_all_segments_and_leaves_no_still_preview(run, monkeypatch) -> None:
    import comfy.utils
    import latent_preview

    seen = []
    monkeypatch.setattr(
        latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB
    )
    monkeypatch.setattr(
        comfy.utils,
        "PROGRESS_BAR_HOOK",
        lambda value, total, preview, node_id=None: seen.append((value, total, preview)),
    )
    run()
    bar = [value for value, total, _ in seen if total == 4 * STEPS]
    assert bar[0] == 1
    assert bar[-1] == 4 * STEPS
    assert bar == sorted(set(bar))
    # A still that is sent stays listed as the node's result, in place of the video.
    assert all(preview is None for _, _, preview in seen)


def test_a_file_comes_back_with_its_count_size_rate_and_sound(comfy_api, run, tmp_path) -> None:
    from comfy_api.latest import InputImpl, Types

    clip = torch.nn.functional.interpolate(scene(1, NUM_FRAMES).movedim(-1, 1), (50, 90)).movedim(
        1, -1
    )
    sound = {"waveform": torch.rand(1, 2, 44100) - 0.5, "sample_rate": 44100}
    parts = Types.VideoComponents(images=clip, audio=sound, frame_rate=Fraction(24))
    InputImpl.VideoFromComponents(parts).save_to(str(tmp_path / "clip.mp4"))
    source = InputImpl.VideoFromFile(str(tmp_path / "clip.mp4"))
    result = run(video=source, images=None, overlap=2, stitch_mode="cross_fade", match_colours=True)
    got, wanted = result.video.get_components(), source.get_components()
    assert got.images.shape == wanted.images.shape == (NUM_FRAMES, 50, 90, 3)
    assert got.frame_rate == 24
    assert torch.equal(got.audio["waveform"], wanted.audio["waveform"])
    assert result.cache.entries[0].latent.shape[2:] == (2, 4)  # 32x16 pixels
    small = run(video=source, images=None, overlap=2, size="model")
    assert small.sampled == []
    assert small.frames.shape[1:3] == (16, 32)


def test_a_model_with_cameras_holds_them_still_and_its_source_keeps_its_range(
    comfy_api, run, tiny_model, tiny_weights
) -> None:
    from memory_v2v.nodes.host.models.builtin_vae import BuiltinVAE

    vae = BuiltinVAE(bundle.load_codec("tiny"))
    result = run(model=tiny_model, vae=vae, positive=None, negative=None)
    assert result.sampled == ALL
    assert "segment 1 at 1x4x4" in result.report
    assert "reads no prompt: it shows the clip as it is" in result.report
    entry = result.cache.entries[0]
    assert entry.camera.is_assumed
    assert torch.equal(entry.camera.c2w[0], entry.camera.c2w[-1])
    with pytest.raises(ValueError, match="source beside the target's channels"):
        run(model=tiny_model, vae=vae, positive=None, negative=None, mode="fifo", session="other")


def test_a_session_of_another_size_is_refused_before_sampling(run) -> None:
    run()
    with pytest.raises(ValueError, match="4x4 .*got one of .*2x2"):
        run(width=16, height=16)
    assert len(on_disk()) == 4
