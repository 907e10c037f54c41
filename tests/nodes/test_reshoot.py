"""ReshootVideo: every turn made once, in view of the earlier ones, as the wired nodes make it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.long_video import SIDE, defaults, on_disk, scene

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import PresetConfig, make_preset

NUM_FRAMES, STEPS = 7, 2
PATHS = "pan_left 30; sweep 30"
LATENT_FRAMES = 3  # the window of `tiny`


@pytest.fixture(scope="module")
def loaded(comfy_api, tiny_weights) -> tuple[Any, ...]:
    """MODEL, CLIP and VAE of `tiny`."""
    from memory_v2v.nodes.loading import LoadMemoryV2VModel

    return comfy_api.run_node(LoadMemoryV2VModel, model_name="built-in: tiny").result


@dataclass(frozen=True, eq=False)
class Made:
    """What one run gave, and the seeds that it sampled with."""

    videos: list[Any]
    video: Any
    cache: MemoryCache
    report: str
    sampled: list[int]
    ui: dict[str, Any]

    @property
    def turns(self) -> dict[int, MemoryEntry]:
        return {entry.turn: entry for entry in self.cache.entries}

    @property
    def ids(self) -> list[str]:
        return [self.turns[number].entry_id for number in sorted(self.turns)]

    @property
    def outcomes(self) -> list[str]:
        lines = [line for line in self.report.splitlines() if line.startswith("turn ")]
        return [line.split(": ")[2].split()[0].strip(",:") for line in lines]


@pytest.fixture
def run(comfy_api, loaded, sampled: list[int]) -> Callable[..., Made]:
    """The node on a clip of seven frames, with its widgets at their defaults; `changes` replace
    inputs, and None leaves one out.
    """
    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    model, _, vae = loaded

    def reshoot(**changes: Any) -> Made:
        sampled.clear()
        given = {
            **defaults(ReshootVideo),
            "model": model,
            "vae": vae,
            "images": scene(1, NUM_FRAMES),
            "session": "long",
            "paths": PATHS,
            "steps": STEPS,
            "seed": 100,
            **changes,
        }
        output = comfy_api.run_node(
            ReshootVideo, **{name: value for name, value in given.items() if value is not None}
        )
        return Made(*output.result, list(sampled), output.ui.as_dict())

    return reshoot


def test_two_paths_give_two_turns_and_a_video_of_each(run) -> None:
    made = run(audio={"waveform": torch.zeros(1, 1, 3500), "sample_rate": 8000})
    assert made.sampled == [100, 101]
    assert made.outcomes == ["new", "new"]
    one, two = (made.turns[number] for number in (1, 2))
    assert one.memory_ids == ()
    assert two.memory_ids == (one.entry_id,)
    assert "turn 2: sweep 30" in made.report
    assert "memories: turn 1 at 1x4x4" in made.report
    assert "7 frames of 32x32: 3 picked evenly, at its own size" in made.report
    assert "the clip's camera is not connected and counts as static" in made.report
    assert len(made.videos) == len(made.ui["images"]) == 2
    for video in made.videos:
        parts = video.get_components()
        assert parts.images.shape == (NUM_FRAMES, SIDE, SIDE, 3)
        assert parts.frame_rate == Fraction(16)
        assert parts.audio is not None
    shown = [video.get_components().images for video in made.videos]
    assert torch.equal(made.video.get_components().images, shown[-1])
    assert not torch.equal(*shown)
    # Three frames are re-shot, each held until the next one is nearer.
    assert torch.allclose(shown[0][0], shown[0][1], atol=0.02)
    assert [entry.turn for entry in on_disk().entries] == [1, 2]


def test_a_video_file_gives_each_turn_its_count_rate_size_sound_and_name(
    comfy_api, run, tmp_path: Path
) -> None:
    from comfy_api.latest import InputImpl, Types

    wide = torch.nn.functional.interpolate(scene(1, 11).movedim(-1, 1), (30, 62)).movedim(1, -1)
    sound = {"waveform": 0.1 * torch.randn(1, 2, 44100), "sample_rate": 44100}
    parts = Types.VideoComponents(images=wide, audio=sound, frame_rate=Fraction(11))
    InputImpl.VideoFromComponents(parts).save_to(str(tmp_path / "My kitchen (1).mp4"))
    video = InputImpl.VideoFromFile(str(tmp_path / "My kitchen (1).mp4"))

    made = run(images=None, video=video, session="", paths="pan_left 30\npan_left 20")
    assert made.cache.session == "My_kitchen_1"
    assert made.turns[1].latent_shape[1:] == (16 // 8, 48 // 8)
    # Pixels are square in the fitted picture of 48 x 16.
    lens = made.turns[1].camera.intrinsics[0]
    assert (lens[1, 1] / lens[0, 0]).item() == pytest.approx(3)
    for turn in made.videos:
        written = turn.get_components()
        assert written.images.shape == (11, 30, 62, 3)
        assert written.frame_rate == 11
        assert written.audio["waveform"].shape[-1] == pytest.approx(44100, rel=0.05)
    assert run(images=None, video=video, session="", paths="pan_left 30").sampled == []


def test_the_node_gives_the_latents_of_the_wired_nodes_bit_for_bit(comfy_api, run, loaded) -> None:
    from memory_v2v.nodes.cameras.paths import CameraTrajectoryNode
    from memory_v2v.nodes.clips import FitVideo
    from memory_v2v.nodes.retrieval import VideoFOVRetrieve
    from memory_v2v.nodes.sampling import MemoryV2VSampler
    from memory_v2v.nodes.tokens import DynamicTokenize

    model, _, vae = loaded
    node, cache = comfy_api.run_node, MemoryCache()
    fit = {"images": scene(1, NUM_FRAMES), "size": SIDE}
    frames = node(
        FitVideo,
        **defaults(FitVideo)
        | {"frames": fit["images"], "num_frames": LATENT_FRAMES, "width": SIDE, "height": SIDE},
    ).result[0]
    with torch.inference_mode():
        source = {"samples": vae.encode(frames)}
    wired = []
    for number, (motion, amplitude) in enumerate((("pan_left", 30.0), ("sweep", 30.0))):
        given = {"motion": motion, "amplitude": amplitude, "clip": frames}
        (camera,) = node(CameraTrajectoryNode, **defaults(CameraTrajectoryNode) | given).result
        found = defaults(VideoFOVRetrieve) | {"cache": cache, "camera": camera}
        retrieval, _ = node(VideoFOVRetrieve, **found).result
        plan, _ = node(
            DynamicTokenize, **defaults(DynamicTokenize) | {"retrieval": retrieval}
        ).result
        turn = {"source": source, "plan": plan, "target_camera": camera, "cache": cache}
        settings = {"model": model, "steps": STEPS, "seed": 100 + number}
        latent, cache = node(
            MemoryV2VSampler, **defaults(MemoryV2VSampler) | settings | turn
        ).result
        wired.append(latent["samples"][0])
    made = run()
    for number, latent in enumerate(wired, 1):
        assert torch.equal(made.turns[number].latent, latent)
    assert made.turns[2].camera.intrinsics.tolist() == camera.intrinsics.tolist()


def test_an_unchanged_run_makes_nothing_and_encodes_nothing(run, loaded, monkeypatch) -> None:
    first = run()
    monkeypatch.setattr(loaded[2], "encode", lambda frames: pytest.fail("encoded"))
    again = run()
    assert (again.sampled, again.outcomes) == ([], ["kept", "kept"])
    assert again.ids == first.ids
    assert len(again.videos) == 2


def test_turns_that_are_kept_are_made_once_more_without_memory_alone(run) -> None:
    first = run()
    again = run(also_without_memory=True)
    # The noise of turn 2; turn 1 saw no memory.
    assert (again.sampled, again.outcomes, again.ids) == ([101], ["kept", "kept"], first.ids)
    assert "; also made without memory" in again.report.splitlines()[2]
    (held,) = (entry for entry in on_disk().entries if entry.has_without_memory)
    assert held.turn == 2
    alone = run(k=0, session="alone")
    assert torch.equal(held.without_memory, alone.turns[2].latent)
    assert run(also_without_memory=True).sampled == []


def test_a_changed_path_is_made_again_and_what_saw_it_is_marked_or_made_again(run) -> None:
    three = "pan_left 30\npan_left 40\nsweep 30"
    run(paths=three)
    changed = run(paths="pan_left 30\npan_left 20\nsweep 30")
    assert changed.sampled == [101]
    assert changed.outcomes == ["kept", "new", "stale"]
    again = run(paths="pan_left 30\npan_left 20\nsweep 30", stale="redo")
    assert again.sampled == [102]


def test_adding_and_removing_a_path_makes_only_what_is_new(run) -> None:
    run()
    longer = run(paths=PATHS + "; tilt_up 20")
    assert longer.sampled == [102]
    shorter = run()
    assert shorter.sampled == []
    assert len(shorter.videos) == 2
    assert "the session keeps turn 3 of paths that are no longer in the list" in shorter.report


def test_one_turn_is_made_again_with_other_noise(run) -> None:
    first = run()
    redone = run(redo="1", redo_seed=500)
    assert redone.sampled == [500]
    assert redone.outcomes == ["new", "stale"]
    assert redone.ids[0] != first.ids[0]
    with pytest.raises(ValueError, match=r"redo got '3', wanted .* 1 to 2, the turns of this list"):
        run(redo="3")


@pytest.mark.parametrize("change", ["clip", "seed", "cfg", "k", "fov_deg", "source_camera"])
def test_what_decides_the_result_makes_turns_again(run, change: str) -> None:
    run()
    still = make_preset(PresetConfig("pan_left", 3, NUM_FRAMES))
    changes = {
        "clip": {"images": scene(2, NUM_FRAMES)},
        "seed": {"seed": 7},
        "cfg": {"cfg": 2.0},
        "k": {"k": 1},
        "fov_deg": {"fov_deg": 50.0},
        "source_camera": {"source_camera": still},
    }[change]
    assert len(run(**changes).sampled) == 2


def test_what_only_writes_the_result_makes_nothing_again(run) -> None:
    run()
    model_size = run(size="model", timing="edited frames", crf=30)
    assert model_size.sampled == []
    parts = model_size.videos[0].get_components()
    assert len(parts.images) == LATENT_FRAMES
    assert float(parts.frame_rate) == pytest.approx(16 * 3 / 7, rel=1e-3)


def test_connected_cameras_stand_in_for_words(comfy_api, run) -> None:
    paths = [make_preset(PresetConfig(motion, 30, 5)) for motion in ("pan_left", "pan_right")]
    made = run(cameras={"camera_1": paths[0], "camera_2": paths[1]})
    assert made.sampled == [100, 101]
    assert "turn 2: camera_2" in made.report
    assert "camera_1: 5 cameras are spread evenly over the 3 frames" in made.report
    assert "the words in paths are not used" in made.report
    # The path's picture is wide, the clip's is square.
    lens = made.turns[1].camera.intrinsics[0]
    assert lens[0, 0].item() == pytest.approx(lens[1, 1].item())
    from memory_v2v.nodes.host.socket_types import check_sockets
    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    check_sockets(ReshootVideo)
    with pytest.raises(ValueError, match="camera_1 got a number, wanted a MEMV2V_CAMERA"):
        run(cameras={"camera_1": 3})


def test_a_session_is_named_after_the_clip_where_none_is_given(run) -> None:
    made = run(session="")
    assert made.cache.session.startswith("clip_")
    assert "named after the clip" in made.report
    assert run(session="").sampled == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": " ; "}, "paths is empty, wanted at least one camera path; write one a line"),
        ({"paths": "pan_up 3"}, "'pan_up' is no motion, wanted one of static, pan_left"),
        ({"images": None}, "images and video are not connected"),
        ({"width": 30, "aspect": "crop"}, "width got 30, wanted a multiple of 8"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sampled(
    run, sampled: list[int], changes: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes)
    assert sampled == []


def test_words_and_names_are_checked_before_the_run(comfy_api) -> None:
    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    assert ReshootVideo.validate_inputs(session="", paths=PATHS, cameras={}) is True
    assert "'spin' is no motion" in ReshootVideo.validate_inputs(session="a", paths="spin 3")
    assert "session name got 'a/b'" in ReshootVideo.validate_inputs(session="a/b", paths=PATHS)


def test_a_request_may_leave_out_all_but_model_vae_paths_and_clip(comfy_api, loaded) -> None:
    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    model, _, vae = loaded
    given = {"model": model, "vae": vae, "images": scene(1, 3), "paths": "static"}
    output = comfy_api.run_node(ReshootVideo, **given)
    assert "1 turns: 1 new" in output.result[3]


def test_at_most_ten_widgets_are_in_sight(comfy_api) -> None:
    from comfy_api.latest import io

    from memory_v2v.nodes.videos.reshoot import ReshootVideo

    widgets = [
        given.id
        for given in ReshootVideo.define_schema().inputs
        if isinstance(given, io.WidgetInput) and not given.advanced
    ]
    # The seed brings a widget of its own, which says what becomes of it after a run.
    assert len(widgets) + 1 <= 10


def test_a_model_without_cameras_is_refused_by_name(comfy_api, run, plain_model) -> None:
    with pytest.raises(ValueError, match=r"which takes no camera paths, .*'built-in: novel_view'"):
        run(model=plain_model)


@pytest.fixture
def plain_model(tiny_wan):
    """A Wan without an adapter."""
    return tiny_wan.load()
