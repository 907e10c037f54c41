"""The shipped workflows on a real server: they run as opened, remember, and lose nothing."""

import itertools
import json
from pathlib import Path

import av
import numpy
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
QUICK_STEPS = 2
TITLE_HEIGHT = 30
NEEDS_DEPTH_ANYTHING = ("estimated_source_camera",)


@pytest.fixture(scope="module")
def object_info(comfy_server) -> dict:
    return comfy_server.api.object_info()


def load(name: str, object_info: dict) -> dict[str, dict]:
    from devtools.workflow import workflow_to_prompt

    return workflow_to_prompt(
        json.loads((ROOT / "workflows" / name).read_text(encoding="utf-8")), object_info
    )


def with_steps(prompt: dict[str, dict], steps: int) -> dict[str, dict]:
    from devtools.workflow import nodes_of_type, with_input

    for kind in ("MemoryV2VSampler", "KSampler"):
        for node_id in nodes_of_type(prompt, kind):
            prompt = with_input(prompt, node_id, "steps", steps)
    return prompt


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_has_only_native_nodes_or_ours(path: Path, object_info: dict) -> None:
    if path.stem in NEEDS_DEPTH_ANYTHING and "DA3Inference" not in object_info:
        pytest.skip("this ComfyUI has no Depth Anything 3")
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        if node["type"] in ("Note", "MarkdownNote"):
            continue
        module = object_info[node["type"]]["python_module"]
        assert module.startswith(("nodes", "comfy_extras")) or "memory-v2v" in module


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_thumbnail_shows_what_the_workflow_makes_or_its_graph(path: Path) -> None:
    from devtools.browser.pictures import RUNS
    from devtools.browser.thumbnails import SIZE

    with Image.open(path.with_suffix(".jpg")) as file:
        assert file.size == SIZE
        picture = numpy.asarray(file.convert("RGB")).astype(int)
    brightness = numpy.abs(picture - 20).mean((1, 2))
    # Two or three rows of frames with dark gaps between: a dialog or one picture has none.
    is_filmstrip = any(
        all(brightness[gap] < 5 < 40 < brightness[gap - 10] for gap in gaps)
        for gaps in ((180,), (120, 238))
    )
    assert is_filmstrip == (path.stem in RUNS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_node_of_a_workflow_covers_another(path: Path) -> None:
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    for one, other in itertools.combinations(nodes, 2):
        (left, top), (width, height) = one["pos"], one["size"]
        (other_left, other_top), (other_width, other_height) = other["pos"], other["size"]
        # Titles stand above the position.
        apart = (
            left + width <= other_left
            or other_left + other_width <= left
            or top + height <= other_top - TITLE_HEIGHT
            or other_top + other_height <= top - TITLE_HEIGHT
        )
        assert apart, (one["id"], other["id"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_file_that_a_workflow_needs_has_its_address(path: Path) -> None:
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        values = node.get("widgets_values") or []
        needed = {value for value in values if str(value).endswith((".safetensors", ".ckpt"))}
        models = {model["name"]: model for model in node["properties"].get("models", ())}
        assert models.keys() == needed, node["type"]
        for name, model in models.items():
            assert model["url"].startswith("https://huggingface.co/")
            assert model["url"].endswith(f"/{name}")
            assert model["directory"]


def test_one_turn_workflow_runs_as_shipped(comfy_server, object_info: dict) -> None:
    from devtools.api import output_files

    entry = comfy_server.api.run(load("one_turn_native_sampler.json", object_info))
    assert any(output.filename.endswith(".mp4") for output in output_files(entry))


def test_multi_turn_workflow_reports_every_pair_and_saves_every_turn(
    comfy_server, object_info: dict
) -> None:
    from devtools.api import output_files
    from devtools.workflow import nodes_of_type

    prompt = with_steps(load("multi_turn_novel_view.json", object_info), QUICK_STEPS)
    entry = comfy_server.api.run(prompt)
    (report_id,) = nodes_of_type(prompt, "MemV2VConsistencyReport")
    report = json.loads(entry["outputs"][report_id]["text"][0])
    assert len(report["pairs"]) == 3
    assert 0 < report["mae"] < 0.5
    assert sum(output.filename.endswith(".mp4") for output in output_files(entry)) == 3


def test_depth_demo_runs_both_arms_and_measures_them_by_the_scenes_geometry(
    comfy_server, object_info: dict, tmp_path: Path
) -> None:
    from devtools.demo import ARMS, run_arm
    from devtools.demo_prompts import saving_to, without_memory
    from devtools.depth_demo import LOOP, measure, scene_and_paths
    from devtools.environment import find_environment

    prompt = with_steps(load("multi_turn_depth.json", object_info), QUICK_STEPS)
    arms = {
        arm: run_arm(comfy_server.api, saving_to(variant, arm), tmp_path, f"depth_{arm}")
        for arm, variant in zip(ARMS, (prompt, without_memory(prompt)), strict=True)
    }
    # Consistency Report cannot compare cameras that move apart, so the workflow has none.
    assert all(arm.consistency is None for arm in arms.values())
    measures = measure(find_environment(), arms, scene_and_paths(prompt), tmp_path)
    for arm in ARMS:
        # Turn C looks where A and B looked, in the same frames.
        assert set(measures[arm]) == {"mae", "A-C", "B-C"}
        assert 0 < measures[arm]["mae"] < 0.5
    assert len(list(tmp_path.glob("depth_*_Turn_?.mp4"))) == 6
    with Image.open(tmp_path / LOOP) as loop:
        assert (loop.n_frames, loop.info["loop"]) == (9, 0)
    assert (tmp_path / LOOP).stat().st_size < 1e6


def test_reshoot_workflow_makes_and_saves_a_turn_for_every_path(
    comfy_server, object_info: dict
) -> None:
    from devtools.api import output_files
    from devtools.workflow import nodes_of_type, with_input

    prompt = load("reshoot_video.json", object_info)
    (node_id,) = nodes_of_type(prompt, "MemV2VReshootVideo")
    entry = comfy_server.api.run(with_input(prompt, node_id, "steps", QUICK_STEPS))
    assert "3 turns: 3 new" in entry["outputs"][node_id]["text"][0]
    saved = [file for file in output_files(entry) if file.folder_type == "output"]
    assert sum(file.filename.endswith(".mp4") for file in saved) == 3


def test_demo_variants_of_the_workflow_are_accepted(comfy_server, object_info: dict) -> None:
    from devtools.demo_prompts import saving_to, with_truth, without_memory
    from devtools.workflow import nodes_of_type

    prompt = load("multi_turn_novel_view.json", object_info)
    forgetful = saving_to(without_memory(with_truth(prompt)), "without_memory")
    assert {forgetful[i]["inputs"]["k"] for i in nodes_of_type(forgetful, "VideoFOVRetrieve")} == {
        0
    }
    assert len(nodes_of_type(forgetful, "MemV2VDemoScene")) == 4
    comfy_server.api.cancel(comfy_server.api.queue(with_steps(forgetful, QUICK_STEPS)))


def test_demo_runs_both_arms_on_a_clip_of_the_users(
    comfy_server, object_info: dict, tmp_path: Path
) -> None:
    from devtools.demo import run_arm
    from devtools.demo_prompts import saving_to, with_video, without_memory

    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as file:
        stream = file.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for shade in range(0, 220, 20):
            frame = av.VideoFrame.from_ndarray(numpy.full((64, 96, 3), shade, numpy.uint8))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    prompt = with_steps(load("multi_turn_novel_view.json", object_info), QUICK_STEPS)
    prompt = with_video(prompt, comfy_server.api.upload(clip))
    with_memory, without = (
        run_arm(comfy_server.api, saving_to(variant, arm), tmp_path, arm)
        for arm, variant in (("with_memory", prompt), ("without_memory", without_memory(prompt)))
    )
    assert "11 frames of 96x64" in with_memory.notes[0]
    assert all(len(arm.consistency["pairs"]) == 3 for arm in (with_memory, without))
    assert len(list(tmp_path.glob("*_Turn_?.mp4"))) == 6


def test_interrupted_session_keeps_its_finished_turns(comfy_server, object_info: dict) -> None:
    from devtools.api import Progress, PromptInterrupted
    from devtools.workflow import node_titled, nodes_of_type, with_input
    from memv2v_core.cache.storage import load_session

    prompt = with_steps(load("multi_turn_novel_view.json", object_info), QUICK_STEPS)
    (cache_id,) = nodes_of_type(prompt, "MemoryCache")
    prompt = with_input(prompt, cache_id, "session", "interrupted")
    turn_b = node_titled(prompt, "Turn B: sample")
    prompt = with_input(prompt, turn_b, "steps", 200)
    prompt = with_input(prompt, node_titled(prompt, "Turn A: sample"), "seed", 987_654)

    def stop_in_turn_b(progress: Progress) -> None:
        if progress.node_id == turn_b and progress.step > 0:
            comfy_server.api.interrupt()

    with pytest.raises(PromptInterrupted):
        comfy_server.api.run(prompt, on_progress=stop_in_turn_b, timeout_s=300)
    kept = load_session(comfy_server.base_dir / "output" / "memory_v2v" / "interrupted").cache
    assert [entry.turn for entry in kept.entries] == [1]
    assert kept.entries[0].seed == 987_654


def test_real_clip_of_any_size_goes_through_the_loop(
    comfy_server, object_info: dict, test_data: Path
) -> None:
    from devtools.demo_prompts import with_video
    from devtools.workflow import nodes_of_type

    clip = next(iter(sorted(test_data.glob("*.mp4"))))
    prompt = with_video(
        load("multi_turn_novel_view.json", object_info), comfy_server.api.upload(clip)
    )
    entry = comfy_server.api.run(with_steps(prompt, QUICK_STEPS))
    (fit_id,) = nodes_of_type(prompt, "MemV2VFitVideo")
    assert "9 picked evenly" in entry["outputs"][fit_id]["text"][0]
