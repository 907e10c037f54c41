"""Shipped workflows as prompts on small files of another layout, as a user would rewire them."""

import json
from dataclasses import dataclass
from pathlib import Path

from instruments.server_files import VAE_FILE

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
SIZE, NUM_FRAMES, NUM_STEPS = 64, 5, 2
# Pixel frames of a clip and of its segments, which are smaller: every one is decoded.
CLIP_FRAMES, LENGTH, SEGMENT_SIZE = 20, 9, 32

Prompt = dict[str, dict]


@dataclass(frozen=True)
class Layout:
    """The files of a base, and how the pack names it.

    low_noise: the file of the second of two experts; "" where there is one DiT.
    adapter: the file of an adapter for a model from another loader.
    """

    name: str
    file: str
    low_noise: str = ""
    adapter: str = ""


LAYOUTS = {
    "bernini": Layout("Bernini-R", "wan2.1_bernini_1.3B.safetensors"),
    "bernini_14b": Layout(
        "Bernini-R",
        "wan2.2_bernini_r_high_noise.safetensors",
        "wan2.2_bernini_r_low_noise.safetensors",
    ),
    "wan": Layout("Wan2.1 T2V", "wan.safetensors"),
    "recammaster": Layout("ReCamMaster", "recammaster.safetensors"),
    "spacetimepilot": Layout("SpaceTimePilot", "spacetimepilot.safetensors"),
    # ComfyUI's own names, as another loader gives no file.
    "pilot_adapter": Layout("WAN21 of", "wan.safetensors", adapter="spacetimepilot.safetensors"),
    "vace": Layout("WAN21_Vace of", "vace.safetensors"),
}
_SAMPLERS = ("MemoryV2VSampler", "MemV2VEditLongVideo")


def node(class_type: str, **inputs: object) -> dict:
    """A node of a prompt with exactly these inputs."""
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def on_layout(
    workflow: str, object_info: dict, layout: Layout, session: str, clip: str = ""
) -> Prompt:
    """A shipped workflow on the files of a layout: small, few frames, few steps.

    The loaders take these files, a built-in model stands in for the text encoder, and samplers
    without a prompt get one. clip: the name of an uploaded clip, for Load Video.
    """
    from devtools.workflow import workflow_to_prompt

    shipped = json.loads((WORKFLOWS / f"{workflow}.json").read_text(encoding="utf-8"))
    prompt = workflow_to_prompt(shipped, object_info)
    moved = _moved_outputs(prompt)
    placed = {
        node_id: _placed(each, layout, session, clip, moved)
        for node_id, each in prompt.items()
        if each["class_type"] != "CLIPLoader"
    }
    return placed | _added(layout)


def changed(prompt: Prompt, kind: str, **inputs: object) -> Prompt:
    """The prompt with these inputs on every node of a type."""
    return {
        node_id: {**each, "inputs": {**each["inputs"], **inputs}}
        if each["class_type"] == kind
        else each
        for node_id, each in prompt.items()
    }


def relinked(prompt: Prompt, old: str, new: str) -> Prompt:
    """The prompt with every link from the first output of node `old` taken from `new`."""
    return {
        node_id: {
            **each,
            "inputs": {
                name: [new, 0] if value == [old, 0] else value
                for name, value in each["inputs"].items()
            },
        }
        for node_id, each in prompt.items()
    }


def without(prompt: Prompt, *kinds: str) -> Prompt:
    """The prompt without the nodes of these types, and without the links from them."""
    gone = {node_id for node_id, each in prompt.items() if each["class_type"] in kinds}
    return {
        node_id: {
            **each,
            "inputs": {
                name: value
                for name, value in each["inputs"].items()
                if not (isinstance(value, list) and value[0] in gone)
            },
        }
        for node_id, each in prompt.items()
        if node_id not in gone
    }


def _moved_outputs(prompt: Prompt) -> dict[tuple[str, int], list]:
    """Where a link goes now, by its old origin: text encoders and VAEs of other nodes."""
    moved = {}
    for node_id, each in prompt.items():
        if each["class_type"] == "CLIPLoader":
            moved[node_id, 0] = ["text", 1]
        if each["class_type"] == "LoadMemoryV2VModel":
            moved |= {(node_id, 1): ["text", 1], (node_id, 2): ["vae", 0]}
    return moved


def _placed(each: dict, layout: Layout, session: str, clip: str, moved: dict) -> dict:
    kind, inputs = each["class_type"], dict(each["inputs"])
    for name, value in inputs.items():
        if isinstance(value, list):
            inputs[name] = moved.get(tuple(value), value)
    inputs |= _small(layout, session, clip).get(kind, {})
    if kind in (*_SAMPLERS, "MemV2VApplyMemory"):
        inputs = {"positive": ["positive", 0], "negative": ["negative", 0]} | inputs
    if kind in _SAMPLERS and layout.low_noise:
        inputs["low_noise_model"] = ["low_noise", 0]
    return {**each, "inputs": inputs}


def _small(layout: Layout, session: str, clip: str) -> dict[str, dict]:
    """Values of widgets by the types of nodes."""
    area = {"width": SIZE, "height": SIZE}
    pieces = {"length": LENGTH, "width": SEGMENT_SIZE, "height": SEGMENT_SIZE}
    steps, named = {"steps": NUM_STEPS}, {"session": session}
    return {
        "LoadMemoryV2VModel": {"model_name": layout.file},
        "UNETLoader": {"unet_name": layout.file},
        "MemV2VLoadMemoryAdapter": {"adapter_name": layout.adapter},
        "VAELoader": {"vae_name": VAE_FILE},
        "LoadVideo": {"file": clip},
        "MemV2VDemoScene": {"num_frames": NUM_FRAMES, "size": SIZE},
        "MemV2VDemoLongVideo": {"num_frames": CLIP_FRAMES, "size": SEGMENT_SIZE},
        "MemV2VFitVideo": {"num_frames": NUM_FRAMES, **area},
        "MemV2VCameraTrajectory": {"num_frames": NUM_FRAMES},
        "MemoryCache": named,
        "MemV2VSplitSegments": pieces,
        "MemV2VEditLongVideo": {**pieces, **named, **steps},
        "MemoryV2VSampler": steps,
        "KSampler": steps,
    }


def _added(layout: Layout) -> Prompt:
    """What the layouts need and some workflows lack."""
    added = {
        "text": node("LoadMemoryV2VModel", model_name="built-in: text_edit"),
        "vae": node("VAELoader", vae_name=VAE_FILE),
        "positive": node("CLIPTextEncode", clip=["text", 1], text="put a hat on the box"),
        "negative": node("CLIPTextEncode", clip=["text", 1], text=""),
    }
    if layout.low_noise:
        added["low_noise"] = node("LoadMemoryV2VModel", model_name=layout.low_noise)
    return added
