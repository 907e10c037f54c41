"""The shipped long-video workflows and the demo's variants of them, on a real server, few frames
and one step.
"""

import json
from pathlib import Path

import av
import pytest
import torch

from memv2v_core.evaluation.long_video.demo import measure, read_clip

ROOT = Path(__file__).resolve().parents[2]
NUM_FRAMES = 30


@pytest.fixture(scope="module")
def object_info(comfy_server) -> dict:
    return comfy_server.api.object_info()


def load(name: str, object_info: dict) -> dict[str, dict]:
    """The workflow as a prompt, with one denoising step."""
    from devtools.workflow import nodes_of_type, with_input, workflow_to_prompt

    prompt = workflow_to_prompt(
        json.loads((ROOT / "workflows" / name).read_text(encoding="utf-8")), object_info
    )
    for kind in ("MemoryV2VSampler", "MemV2VEditLongVideo"):
        for node_id in nodes_of_type(prompt, kind):
            prompt = with_input(prompt, node_id, "steps", 1)
    return prompt


def test_the_wired_loop_runs_as_shipped(comfy_server, object_info: dict) -> None:
    from devtools.api import output_files

    entry = comfy_server.api.run(load("long_video_wired.json", object_info))
    assert any(output.filename.endswith(".mp4") for output in output_files(entry))


def test_the_demo_edits_a_rendered_clip_and_measures_it(
    comfy_server, object_info: dict, tmp_path: Path
) -> None:
    from devtools.long_demo import rendered_clip, run_mode
    from devtools.workflow import node_titled, with_input

    prompt = load("long_video_edit.json", object_info)
    prompt = with_input(prompt, node_titled(prompt, "Source clip"), "num_frames", NUM_FRAMES)
    arms = {
        mode: run_mode(comfy_server.api, prompt, mode, tmp_path)
        for mode in ("memory", "independent")
    }
    assert "memories: segment 1 at 1x2x2" in arms["memory"].report
    assert "1x2x2" not in arms["independent"].report
    spec = {
        "source": str(tmp_path / "long_source.mp4"),
        "arms": {mode: str(arm.clip) for mode, arm in arms.items()},
        "segment": 5,
        "overlap": 1,
        "rendered": rendered_clip(prompt),
    }
    measures = measure(spec, tmp_path / "sheet.png", tmp_path / "loop.webp")
    assert set(measures) == {"memory", "independent"}
    assert all(values["background_psnr"] > 10 for values in measures.values())
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert (tmp_path / "loop.webp").stat().st_size > 1000
    assert all(len(read_clip(str(arm.clip))) == NUM_FRAMES for arm in arms.values())


def test_the_demo_edits_a_clip_of_the_users_with_a_cut(
    comfy_server, object_info: dict, tmp_path: Path
) -> None:
    from devtools.long_demo import run_mode, with_clip

    clip = tmp_path / "clip.mp4"
    generator = torch.Generator().manual_seed(0)
    with av.open(str(clip), "w") as file:
        stream = file.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 96, "yuv420p", 2_000_000
        for _ in range(2):
            place = (
                torch.rand(6, 8, 3, generator=generator)
                .repeat_interleave(16, 0)
                .repeat_interleave(16, 1)
            )
            for i in range(12):
                pixels = (place.roll(i, 1) * 255).byte().numpy()
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    prompt = with_clip(
        load("long_video_edit.json", object_info), comfy_server.api.upload(clip), "recolour the box"
    )
    arm = run_mode(comfy_server.api, prompt, "memory", tmp_path)
    edited = read_clip(str(arm.clip))
    assert edited.shape == (24, 3, 96, 128)
    assert "2 shots" in arm.report
    spec = {
        "source": str(tmp_path / "long_source.mp4"),
        "arms": {"memory": str(arm.clip)},
        "segment": 9,
        "overlap": 1,
        "rendered": None,
    }
    measures = measure(spec, tmp_path / "sheet.png", tmp_path / "loop.webp")
    assert 0 <= measures["memory"]["changed_share"] <= 1
    assert not (tmp_path / "loop.webp").exists()
