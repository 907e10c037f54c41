"""A long edit on real servers: killed in the middle, it goes on after a restart as if nothing had
happened.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from instruments.prompts import prompt_node

from memv2v_core.cache.storage import load_session

if TYPE_CHECKING:
    from devtools.server import ComfyServer

LENGTH, NUM_SEGMENTS, SIDE, STEPS = 5, 6, 32, 12
NUM_FRAMES = LENGTH * NUM_SEGMENTS
SESSION = "killed"

Prompt = dict[str, dict]


@dataclass(frozen=True)
class Graph:
    """Builds prompts for the HTTP API, which fills no defaults."""

    object_info: dict

    def node(self, kind: str, **inputs) -> dict:
        return prompt_node(self.object_info, kind, **inputs)

    def edit(self, clip: str, **changes) -> Prompt:
        """Edits a clip of the input folder in segments of 5 frames and saves the result."""
        given = {"model": ["load", 0], "vae": ["load", 2], "video": ["clip", 0], "session": SESSION}
        given |= {"length": LENGTH, "width": SIDE, "height": SIDE, "steps": STEPS, **changes}
        prompt = {
            "load": self.node("LoadMemoryV2VModel", model_name="built-in: text_edit"),
            "clip": self.node("LoadVideo", file=clip),
            "edit": self.node("MemV2VEditLongVideo", **given),
            "save": self.node(
                "SaveVideo", video=["edit", 0], filename_prefix="edited", format="mp4", codec="h264"
            ),
        }
        for name, text in (("positive", "put a hat on the box"), ("negative", "")):
            prompt[name] = self.node("CLIPTextEncode", clip=["load", 1], text=text)
            prompt["edit"]["inputs"][name] = [name, 0]
        return prompt


@pytest.fixture(scope="module")
def graph(comfy_server) -> Graph:
    return Graph(comfy_server.api.object_info())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames of 48 x 80 with sound, at a broadcast rate."""
    import av

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as file:
        video = file.add_stream("h264", rate=Fraction(30000, 1001))
        audio = file.add_stream("aac", rate=44100, layout="mono")
        video.height, video.width, video.pix_fmt = 48, 80, "yuv420p"
        shades = torch.linspace(0, 200, 80).expand(48, 80)[..., None].expand(-1, -1, 3)
        for i in range(NUM_FRAMES):
            file.mux(video.encode(av.VideoFrame.from_ndarray((shades + i).byte().numpy())))
        file.mux(video.encode(None))
        wave = torch.sin(torch.arange(44100) / 44100 * 440 * 2 * math.pi)[None] / 2
        sound = av.AudioFrame.from_ndarray(wave.numpy(), format="fltp", layout="mono")
        sound.sample_rate = 44100
        file.mux([*audio.encode(sound), *audio.encode(None)])
    return path


@dataclass(frozen=True, eq=False)
class Video:
    """Frames (F, H, W, 3) in 0..255, frames a second, and samples (C, n)."""

    frames: torch.Tensor
    rate: Fraction
    sound: torch.Tensor


def read_video(path: Path) -> Video:
    import av

    with av.open(str(path)) as file:
        rate = file.streams.video[0].average_rate
        frames = [
            torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)
        ]
    with av.open(str(path)) as file:
        sound = [torch.from_numpy(frame.to_ndarray()) for frame in file.decode(audio=0)]
    return Video(torch.stack(frames), rate, torch.cat(sound, dim=1))


def saved_video(server, entry: dict, folder: Path) -> Video:
    from devtools.api import output_files

    (output,) = [o for o in output_files(entry) if o.filename.startswith("edited")]
    return read_video(server.api.download(output, folder / output.filename))


def report_of(entry: dict) -> list[str]:
    """What became of each segment: new, kept or stale."""
    (text,) = entry["outputs"]["edit"]["text"]
    return [
        line.split(": ")[2].split()[0].strip(",:")
        for line in text.splitlines()
        if line.startswith("segment ")
    ]


def entry_files(base_dir: Path) -> dict[str, int]:
    """Names and times of writing of the session's finished segments."""
    folder = base_dir / "output" / "memory_v2v" / SESSION
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def killed(
    clip: Path, graph: Graph, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, int], "ComfyServer"]]:
    """The files on disk when a server was killed while it made segment 4, and the server that was
    started after it.
    """
    from devtools.api import ApiError, Progress
    from devtools.environment import find_environment
    from devtools.server import running_server

    base_dir = tmp_path_factory.mktemp("killed")
    options = {"base_dir": base_dir, "extra_args": ["--disable-api-nodes"]}
    with running_server(find_environment(), **options) as server:
        prompt = graph.edit(server.api.upload(clip))

        def kill_in_segment_4(progress: Progress) -> None:
            if progress.node_id == "edit" and progress.step > 3 * STEPS:
                server.process.kill()  # SIGKILL
                server.process.wait()

        with pytest.raises(ApiError, match="has stopped"):
            server.api.run(prompt, on_progress=kill_in_segment_4, timeout_s=300)
    files = entry_files(base_dir)
    with running_server(find_environment(), **options) as server:
        yield files, server


def test_a_killed_edit_goes_on_and_gives_what_an_undisturbed_one_gives(
    killed, comfy_server, graph: Graph, clip: Path, tmp_path: Path
) -> None:
    files, server = killed
    assert len(files) == 3
    entry = server.api.run(graph.edit(clip.name))
    assert report_of(entry) == ["kept"] * 3 + ["new"] * 3
    after = entry_files(server.base_dir)
    assert len(after) == NUM_SEGMENTS
    assert {name: after[name] for name in files} == files
    resumed = saved_video(server, entry, tmp_path)
    loaded = load_session(server.base_dir / "output" / "memory_v2v" / SESSION)
    assert loaded.skipped == ()
    assert [e.segment.idx for e in loaded.cache.entries] == list(range(NUM_SEGMENTS))

    undisturbed = comfy_server.api.run(graph.edit(comfy_server.api.upload(clip)))
    assert report_of(undisturbed) == ["new"] * NUM_SEGMENTS
    again = load_session(comfy_server.base_dir / "output" / "memory_v2v" / SESSION)
    for one, other in zip(loaded.cache.entries, again.cache.entries, strict=True):
        assert torch.equal(one.latent, other.latent)
    whole = saved_video(comfy_server, undisturbed, tmp_path)
    assert torch.equal(resumed.frames, whole.frames)
    assert torch.equal(resumed.sound, whole.sound)
    source = read_video(clip)
    assert resumed.frames.shape == source.frames.shape == (NUM_FRAMES, 48, 80, 3)
    assert resumed.rate == source.rate
    assert torch.equal(resumed.sound, source.sound)


def test_redoing_a_segment_marks_what_saw_it_and_runs_once(
    killed, graph: Graph, clip: Path
) -> None:
    _, server = killed
    server.api.run(graph.edit(clip.name))
    redone = server.api.run(graph.edit(clip.name, redo="3", redo_seed=5))
    assert report_of(redone)[:3] == ["kept", "kept", "new"]
    assert report_of(redone)[3] == "stale"
    again = server.api.run(
        graph.edit(clip.name, redo="3", redo_seed=5, crf=20)
    )  # a change, so that the node runs
    assert report_of(again)[:4] == ["kept", "kept", "kept", "stale"]
    fresh = server.api.run(graph.edit(clip.name, redo="3", redo_seed=5, stale="redo"))
    assert report_of(fresh)[:4] == ["kept", "kept", "kept", "new"]
    kept = server.api.run(graph.edit(clip.name))
    assert report_of(kept) == ["kept"] * NUM_SEGMENTS
    assert len(entry_files(server.base_dir)) == NUM_SEGMENTS
