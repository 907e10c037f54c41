"""The shipped workflows on small random files of the bases that they fit, on a real server.

Each runs, goes on from its session, and writes as many frames as its clip has. LucyEdit has a VAE
too large for a test; see `test_real_workflows.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy
import pytest
from instruments.layout_prompts import (
    CLIP_FRAMES,
    LAYOUTS,
    NUM_FRAMES,
    SIZE,
    Prompt,
    changed,
    node,
    on_layout,
    relinked,
    without,
)

from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session

Rewired = Callable[[Prompt], Prompt]


@pytest.fixture(scope="module")
def clip(comfy_server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip of 20 frames of 96 x 80 on the server, at 12 frames a second: a moving box."""
    path = tmp_path_factory.mktemp("clip") / "layouts.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("h264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for i in range(CLIP_FRAMES):
            pixels = numpy.full((80, 96, 3), 90, numpy.uint8)
            pixels[20:50, 3 * i : 3 * i + 30] = 220
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        file.mux(stream.encode())
    return comfy_server.api.upload(path)


@dataclass(frozen=True)
class Runs:
    """Runs prompts on the server and reads what they wrote."""

    server: object
    folder: Path

    def __call__(self, prompt: Prompt, num_frames: int) -> dict:
        """The history of a run. All its clips have this count of frames.

        No clip is of one colour: a result that is not finite would be.
        """
        from devtools.api import output_files
        from devtools.workflow import nodes_of_type

        entry = self.server.api.run(prompt)
        clips = [file for file in output_files(entry) if file.filename.endswith(".mp4")]
        saved = [file for file in clips if file.folder_type == "output"]
        assert len(saved) == len(nodes_of_type(prompt, "SaveVideo"))
        for file in clips:
            frames = frames_of(self.server.api.download(file, self.folder / file.filename))
            assert len(frames) == num_frames, file.filename
            assert frames.std() > 1, file.filename
        return entry

    def files(self, session: str) -> dict[str, int]:
        """Names and times of writing of a session's finished turns."""
        folder = self.server.base_dir / "output" / "memory_v2v" / session
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}

    def cache(self, session: str) -> MemoryCache:
        """A session on the server's disk, whole."""
        loaded = load_session(self.server.base_dir / "output" / "memory_v2v" / session)
        assert loaded.skipped == ()
        return loaded.cache


@pytest.fixture
def runs(comfy_server, tmp_path: Path) -> Runs:
    return Runs(comfy_server, tmp_path)


def frames_of(path: Path) -> numpy.ndarray:
    with av.open(str(path)) as file:
        return numpy.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])


def text_of(entry: dict, node_id: str) -> str:
    return entry["outputs"][node_id]["text"][0]


def later_seeds(prompt: Prompt) -> Prompt:
    """The prompt with other noise in every turn."""
    from devtools.workflow import nodes_of_type, with_input

    for node_id in nodes_of_type(prompt, "MemoryV2VSampler"):
        seed = prompt[node_id]["inputs"]["seed"]
        prompt = with_input(prompt, node_id, "seed", seed + 1000)
    return prompt


def with_playback(prompt: Prompt) -> Prompt:
    """The prompt with a Playback Time between every sampler and its path."""
    from devtools.workflow import nodes_of_type, with_input

    for node_id in nodes_of_type(prompt, "MemoryV2VSampler"):
        camera, name = prompt[node_id]["inputs"]["target_camera"], f"playback{node_id}"
        played = node("MemV2VPlaybackTime", camera=camera, pattern="reverse", freeze_frame=0)
        prompt = with_input({**prompt, name: played}, node_id, "target_camera", [name, 0])
    return prompt


@pytest.mark.parametrize(
    ("workflow", "layout", "kernel"),
    [
        ("bernini_long_edit", "bernini", "1x2x2"),
        ("bernini_long_edit", "bernini_14b", "1x2x2"),
        ("bernini_long_edit", "wan", "1x4x4"),
        ("long_video_edit", "bernini", "1x2x2"),
        ("long_video_edit", "bernini_14b", "1x2x2"),
        ("long_video_edit", "recammaster", "1x4x4"),
        ("long_video_edit", "spacetimepilot", "1x4x4"),
    ],
)
def test_a_long_edit_keeps_every_segment_and_every_frame(
    runs: Runs, object_info: dict, clip: str, workflow: str, layout: str, kernel: str
) -> None:
    from devtools.workflow import nodes_of_type

    session = f"{workflow}_{layout}"
    prompt = on_layout(workflow, object_info, LAYOUTS[layout], session, clip)
    (edit,) = nodes_of_type(prompt, "MemV2VEditLongVideo")
    report = text_of(runs(prompt, CLIP_FRAMES), edit)
    files = runs.files(session)
    assert report.startswith("3 segments: 3 new, 0 kept, 0 stale;")
    assert f"memories: segment 2 at {kernel}, segment 1 at {kernel}" in report
    assert ("low_noise_model takes steps 2 to 2" in report) == bool(LAYOUTS[layout].low_noise)
    # Another quality of the written clip, so that the node runs again.
    again = runs(changed(prompt, "MemV2VEditLongVideo", crf=20), CLIP_FRAMES)
    assert text_of(again, edit).startswith("3 segments: 0 new, 3 kept, 0 stale;")
    assert runs.files(session) == files
    cache = runs.cache(session)
    assert cache.model_name.startswith(LAYOUTS[layout].name)
    assert [entry.segment.idx for entry in cache.entries] == [0, 1, 2]


@pytest.mark.parametrize("layout", ["bernini", "bernini_14b"])
def test_the_wired_loop_finds_its_segments_again(
    runs: Runs, object_info: dict, layout: str
) -> None:
    from devtools.workflow import nodes_of_type

    session = f"wired_{layout}"
    prompt = on_layout("long_video_wired", object_info, LAYOUTS[layout], session)
    samplers = nodes_of_type(prompt, "MemoryV2VSampler")
    first, files = runs(prompt, CLIP_FRAMES), runs.files(session)
    # The session is on the disk now, so every node behind it runs again.
    again = runs(changed(prompt, "StitchSegments", crf=20), CLIP_FRAMES)
    for turn, sampler in enumerate(samplers, start=1):
        made = text_of(first, sampler)
        assert f"turn {turn} is" in made
        assert text_of(again, sampler) == made
    assert "memories: turn 2 at 1x4x4, turn 1 at 1x4x4" in made
    assert runs.files(session) == files


@pytest.mark.parametrize(
    ("workflow", "layout", "num_frames"),
    [
        ("lucyedit_multi_turn", "bernini", CLIP_FRAMES),
        ("lucyedit_multi_turn", "bernini_14b", CLIP_FRAMES),
        ("multi_turn_novel_view", "recammaster", NUM_FRAMES),
        ("multi_turn_novel_view", "spacetimepilot", NUM_FRAMES),
    ],
)
def test_turns_go_on_from_their_session(
    runs: Runs, object_info: dict, clip: str, workflow: str, layout: str, num_frames: int
) -> None:
    from devtools.workflow import nodes_of_type

    session = f"{workflow}_{layout}"
    prompt = on_layout(workflow, object_info, LAYOUTS[layout], session, clip)
    first, *_, last = nodes_of_type(prompt, "MemoryV2VSampler")
    made = runs(prompt, num_frames)
    assert "memories: none" in text_of(made, first)
    assert "turn 2 at 1x4x4" in text_of(made, last)
    assert ("two experts" in text_of(made, first)) == bool(LAYOUTS[layout].low_noise)
    made = runs(later_seeds(prompt), num_frames)
    assert "turn 3 at 1x4x4" in text_of(made, first)
    cache = runs.cache(session)
    assert cache.model_name.startswith(LAYOUTS[layout].name)
    assert [entry.turn for entry in cache.entries] == [1, 2, 3, 4, 5, 6]


def test_spacetimepilot_plays_backwards_on_the_workflow_of_recammaster(
    runs: Runs, object_info: dict, clip: str
) -> None:
    from devtools.workflow import nodes_of_type

    prompt = with_playback(
        on_layout(
            "recammaster_multi_turn", object_info, LAYOUTS["spacetimepilot"], "playback", clip
        )
    )
    made = runs(prompt, CLIP_FRAMES)
    for sampler in nodes_of_type(prompt, "MemoryV2VSampler"):
        assert "the target shows moments 4 to 0 of the source" in text_of(made, sampler)
    moments = [entry.camera.moments().tolist() for entry in runs.cache("playback").entries]
    assert moments == [[4, 3, 2, 1, 0]] * 3


@pytest.mark.parametrize("layout", ["recammaster", "spacetimepilot"])
def test_a_native_sampler_makes_a_turn(runs: Runs, object_info: dict, layout: str) -> None:
    from devtools.workflow import nodes_of_type

    prompt = on_layout("one_turn_native_sampler", object_info, LAYOUTS[layout], "")
    (tokenize,) = nodes_of_type(prompt, "DynamicTokenize")
    assert "memories by rank: 1x4x4;" in text_of(runs(prompt, NUM_FRAMES), tokenize)


def bernini_of_any_loader(prompt: Prompt) -> Prompt:
    """No adapter and no cameras, and Describe Base in place of the flow shift."""
    from devtools.workflow import nodes_of_type

    (load,) = nodes_of_type(prompt, "UNETLoader")
    (shift,) = nodes_of_type(prompt, "ModelSamplingSD3")
    (retrieve,) = nodes_of_type(prompt, "VideoFOVRetrieve")
    cache = prompt[retrieve]["inputs"]["cache"]
    prompt = relinked(prompt, shift, "describe") | {
        "describe": node("MemV2VDescribeBase", model=[load, 0], base="Bernini-R", sets_shift=True),
        retrieve: node("MemV2VRecentRetrieve", cache=cache, k=3),
    }
    unread = ("ModelSamplingSD3", "MemV2VLoadMemoryAdapter", "MemV2VCameraTrajectory")
    return without(prompt, *unread)


def vace_of_any_loader(prompt: Prompt) -> Prompt:
    """No adapter and no cameras, and the clip as VACE's control beside the source."""
    from devtools.workflow import nodes_of_type

    (fit,) = nodes_of_type(prompt, "MemV2VFitVideo")
    (retrieve,) = nodes_of_type(prompt, "VideoFOVRetrieve")
    (sampler,) = nodes_of_type(prompt, "MemoryV2VSampler")
    asked = {name: prompt[sampler]["inputs"][name] for name in ("positive", "negative")}
    size = {"width": SIZE, "height": SIZE, "length": NUM_FRAMES, "batch_size": 1}
    control = node(
        "WanVaceToVideo", **asked, **size, vae=["vae", 0], control_video=[fit, 0], strength=1.0
    )
    prompt = prompt | {
        "control": control,
        retrieve: node("MemV2VRecentRetrieve", cache=prompt[retrieve]["inputs"]["cache"], k=3),
    }
    prompt = changed(prompt, "MemoryV2VSampler", positive=["control", 0], negative=["control", 1])
    return without(prompt, "MemV2VLoadMemoryAdapter", "MemV2VCameraTrajectory")


@pytest.mark.parametrize(
    ("layout", "rewired"),
    [
        ("bernini", bernini_of_any_loader),
        ("pilot_adapter", with_playback),
        ("vace", vace_of_any_loader),
    ],
)
def test_a_model_of_another_loader_remembers_from_run_to_run(
    runs: Runs, object_info: dict, clip: str, layout: str, rewired: Rewired
) -> None:
    from devtools.workflow import nodes_of_type

    session = f"any_{layout}"
    prompt = rewired(
        on_layout("any_loader_with_adapter", object_info, LAYOUTS[layout], session, clip)
    )
    (sampler,) = nodes_of_type(prompt, "MemoryV2VSampler")
    assert "memories: none" in text_of(runs(prompt, CLIP_FRAMES), sampler)
    made = runs(later_seeds(prompt), CLIP_FRAMES)
    assert "memories: turn 1 at 1x4x4" in text_of(made, sampler)
    assert runs.cache(session).model_name.startswith(LAYOUTS[layout].name)
