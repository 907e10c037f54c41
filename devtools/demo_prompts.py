"""The demo's variants of the shipped workflow.

Without memory, with the truth beside it, on a user's clip, and with files under another name.
"""

from .workflow import node_titled, nodes_of_type, with_input

TURNS = ("A", "B", "C")
VIDEO_FPS = 6.0
SOURCE_TITLE = "Source clip"

Prompt = dict[str, dict]


def without_memory(prompt: Prompt) -> Prompt:
    """The same prompt with the same seeds, but without memory."""
    for node_id in nodes_of_type(prompt, "VideoFOVRetrieve"):
        prompt = with_input(prompt, node_id, "k", 0)
    return prompt


def saving_to(prompt: Prompt, arm: str) -> Prompt:
    """The same prompt, with its videos saved under the arm's name."""
    for node_id in nodes_of_type(prompt, "SaveVideo"):
        name = prompt[node_id]["_meta"]["title"].removeprefix("Save ").replace(" ", "_")
        prompt = with_input(prompt, node_id, "filename_prefix", f"memory_v2v/{arm}/{name}")
    return prompt


def with_truth(prompt: Prompt) -> Prompt:
    """The prompt with a rendering of the true view along each turn's camera path."""
    scene_id = node_titled(prompt, SOURCE_TITLE)
    for turn in TURNS:
        camera_id = node_titled(prompt, f"Turn {turn}: camera path")
        inputs = {**prompt[scene_id]["inputs"], "camera": [camera_id, 0]}
        prompt = _with_node(prompt, f"truth_{turn}", "MemV2VDemoScene", f"Truth {turn}", inputs)
        frames = {"images": [f"truth_{turn}", 0]}
        prompt = _with_node(
            prompt, f"truth_{turn}_frames", "PreviewImage", f"Truth {turn}: frames", frames
        )
    return prompt


def with_video(prompt: Prompt, file: str) -> Prompt:
    """The prompt on an uploaded clip.

    The clip is fitted to the model, and its camera counts as static.
    """
    scene_id = node_titled(prompt, SOURCE_TITLE)
    scene = prompt[scene_id]["inputs"]
    size = {"width": scene["size"], "height": scene["size"], "num_frames": scene["num_frames"]}
    camera_id = node_titled(prompt, "Turn A: camera path")
    static = {**prompt[camera_id]["inputs"], "motion": "static", "second_motion": "none"}
    prompt = _with_node(prompt, "load", "LoadVideo", "Your clip", {"file": file})
    prompt = _with_node(prompt, "parts", "GetVideoComponents", "Its frames", {"video": ["load", 0]})
    fitted = {"frames": ["parts", 0], "temporal_ratio": 1, **size}
    prompt = _with_node(prompt, "fit", "MemV2VFitVideo", "Fitted clip", fitted)
    prompt = _with_node(
        prompt, "static", "MemV2VCameraTrajectory", "Source camera, taken as static", static
    )
    # All nodes that read the rendered scene now read the clip and the static camera.
    replaced = {(scene_id, 0): ["fit", 0], (scene_id, 1): ["static", 0]}
    for node_id, node in list(prompt.items()):
        for name, value in node["inputs"].items():
            if isinstance(value, list) and tuple(value) in replaced:
                prompt = with_input(prompt, node_id, name, replaced[tuple(value)])
    return {node_id: node for node_id, node in prompt.items() if node_id != scene_id}


def _with_node(prompt: Prompt, node_id: str, class_type: str, title: str, inputs: dict) -> Prompt:
    return {
        **prompt,
        node_id: {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}},
    }
