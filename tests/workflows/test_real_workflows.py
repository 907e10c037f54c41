"""The workflows for published bases on a real server, with small random weights in the real key
layout.

The text encoder is too large for a test: the empty prompt of the built-in model stands in, and the
DiTs read its width.
"""

import json
import math
from pathlib import Path

import pytest
from instruments.server_files import VAE_FILE

from memv2v_core.cache.storage import load_session

ROOT = Path(__file__).resolve().parents[2]
SIZE, NUM_FRAMES = 64, 5

Prompt = dict[str, dict]


def has_depth_anything(comfy_api) -> bool:
    return (comfy_api.comfyui / "comfy_extras" / "nodes_depth_anything_3.py").is_file()


def small(name: str, object_info: dict, session: str, **names: str) -> Prompt:
    """A shipped workflow with another source, size, prompt and file names, and 2 steps."""
    from devtools.workflow import workflow_to_prompt

    workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    prompt = {}
    for node_id, node in workflow_to_prompt(workflow, object_info).items():
        inputs = dict(node["inputs"])
        changes = {
            "num_frames": NUM_FRAMES,
            "width": SIZE,
            "height": SIZE,
            "steps": 2,
            "session": session,
            **names,
        }
        inputs |= {key: value for key, value in changes.items() if key in inputs}
        # Frames that come from another node stay.
        if node["class_type"] == "MemV2VFitVideo" and inputs.pop("video", None):
            inputs["frames"] = ["scene", 0]
        if "positive" in inputs:
            inputs |= {"positive": ["prompt", 1], "negative": ["prompt", 2]}
        if node["class_type"] not in ("CLIPLoader", "CLIPTextEncode", "LoadVideo"):
            prompt[node_id] = {**node, "inputs": inputs}
    return prompt | {
        "scene": native(
            "MemV2VDemoScene", scene=3, num_frames=NUM_FRAMES + 2, size=SIZE, drift_deg=3.0
        ),
        "builtin": native("LoadMemoryV2VModel", model_name="built-in: novel_view"),
        "prompt": native("MemV2VApplyMemory", model=["builtin", 0], batch_size=1),
    }


def native(class_type: str, **inputs: object) -> dict:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def num_turns(comfy_server, session: str) -> int:
    return len(load_session(comfy_server.base_dir / "output" / "memory_v2v" / session).cache)


def test_recammaster_workflow_remembers_three_turns_and_compares_them(
    comfy_server, object_info: dict
) -> None:
    from devtools.api import output_files
    from devtools.workflow import nodes_of_type

    names = {"model_name": "recammaster.safetensors", "vae_name": VAE_FILE}
    prompt = small("recammaster_multi_turn", object_info, "recam", **names)
    entry = comfy_server.api.run(prompt)
    assert len([file for file in output_files(entry) if file.filename.endswith(".mp4")]) == 3
    assert num_turns(comfy_server, "recam") == 3
    (report_id,) = nodes_of_type(prompt, "MemV2VConsistencyReport")
    report = json.loads(entry["outputs"][report_id]["text"][0])
    assert report["mode"] == "training-free"
    assert report["model"].startswith("ReCamMaster")
    assert len(report["pairs"]) == 3
    assert math.isfinite(report["mae"])


def test_lucyedit_workflow_remembers_three_turns(comfy_server, object_info: dict) -> None:
    from devtools.workflow import nodes_of_type

    prompt = small(
        "lucyedit_multi_turn",
        object_info,
        "lucy",
        model_name="lucyedit.safetensors",
        vae_name=VAE_FILE,
    )
    # The Wan2.2 VAE is too large for a test: an empty latent of its shape is the source, and
    # nothing is decoded.
    (encode,) = nodes_of_type(prompt, "VAEEncode")
    size = {"width": SIZE, "height": SIZE, "length": NUM_FRAMES, "batch_size": 1}
    prompt[encode] = native("Wan22ImageToVideoLatent", vae=prompt[encode]["inputs"]["vae"], **size)
    unused = ("VAEDecodeTiled", "MemV2VRestoreVideo", "SaveVideo", "MemV2VFitVideo")
    prompt = {node_id: node for node_id, node in prompt.items() if node["class_type"] not in unused}
    last = nodes_of_type(prompt, "MemoryV2VSampler")[-1]
    prompt["save"] = native("SaveLatent", samples=[last, 0], filename_prefix="lucy")
    entry = comfy_server.api.run(prompt)
    assert num_turns(comfy_server, "lucy") == 3
    assert "memories: turn 2 at 1x4x4, turn 1 at 1x4x4" in entry["outputs"][last]["text"][0]
    assert "training-free mode" in entry["outputs"][last]["text"][0]


def test_any_loader_workflow_remembers_from_run_to_run(comfy_server, object_info: dict) -> None:
    from devtools.workflow import nodes_of_type, with_input

    names = {
        "unet_name": "wan.safetensors",
        "adapter_name": "recammaster.safetensors",
        "vae_name": VAE_FILE,
    }
    prompt = small("any_loader_with_adapter", object_info, "any", **names)
    (sampler,) = nodes_of_type(prompt, "MemoryV2VSampler")
    for seed in (1, 2):
        entry = comfy_server.api.run(with_input(prompt, sampler, "seed", seed))
    assert num_turns(comfy_server, "any") == 2
    assert "memories: turn 1 at 1x4x4" in entry["outputs"][sampler]["text"][0]


@pytest.mark.parametrize("base", ["recammaster", "spacetimepilot"])
def test_source_camera_workflow_estimates_it_from_fewer_views(
    comfy_api, comfy_server, object_info: dict, base: str
) -> None:
    from devtools.workflow import node_titled, nodes_of_type, with_input

    if not has_depth_anything(comfy_api):
        pytest.skip("this ComfyUI has no Depth Anything 3")
    session = f"estimated_{base}"
    prompt = small("estimated_source_camera", object_info, session, vae_name=VAE_FILE)
    loader = node_titled(prompt, "ReCamMaster")
    prompt = with_input(prompt, loader, "model_name", f"{base}.safetensors")
    # Three of five frames are views.
    views = node_titled(prompt, "21 views for the estimation")
    for name, value in {"num_frames": 3, "temporal_ratio": 1}.items():
        prompt = with_input(prompt, views, name, value)
    prompt = with_input(prompt, node_titled(prompt, "Cameras of the views"), "resolution", 140)
    entry = comfy_server.api.run(prompt)
    (camera,) = nodes_of_type(prompt, "MemV2VEstimateSourceCamera")
    said = entry["outputs"][camera]["text"][0]
    assert "3 views estimated, 2 of 5 frames interpolated." in said
    assert "lens 57.3 degrees across" in said
    (sampler,) = nodes_of_type(prompt, "MemoryV2VSampler")
    assert "static" not in entry["outputs"][sampler]["text"][0]
    assert num_turns(comfy_server, session) == 1
