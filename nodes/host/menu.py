"""Where each node stands in ComfyUI's menu, and the words that find it there.

ComfyUI's search looks at the id, the name and these words. A word in the name comes before all
others, so names have the first word of an artist where they can.
"""

from dataclasses import fields
from typing import Any, NamedTuple

from comfy_api.latest import io

from ..io_types import CATEGORY


class _Place(NamedTuple):
    """folder: below the pack's own. words: what an artist may type, besides the node's name."""

    folder: str
    words: tuple[str, ...]


_PLACES = {
    # Models
    "LoadMemoryV2VModel": _Place(
        "models",
        (
            *("wan memory", "memory model", "lucy", "lucy edit", "recammaster", "bernini"),
            *("spacetimepilot", "novel view", "video to video", "v2v"),
        ),
    ),
    "MemV2VDescribeBase": _Place("models", ("bernini", "base model", "which model", "model type")),
    "MemV2VLoadMemoryAdapter": _Place(
        "models", ("recammaster", "wan memory", "memory weights", "memory lora")
    ),
    # Clips
    "MemV2VFitVideo": _Place(
        "clips", ("resize video", "crop video", "video size", "clip length", "prepare clip")
    ),
    "MemV2VRestoreVideo": _Place(
        "clips", ("original size", "keep audio", "original frame rate", "undo fit")
    ),
    "MemV2VDemoScene": _Place("clips", ("example clip", "test clip", "sample video")),
    "MemV2VDemoLongVideo": _Place("clips", ("example clip", "test clip", "sample video")),
    # Cameras
    "MemV2VCameraTrajectory": _Place(
        "cameras",
        (
            *("camera path", "camera motion", "camera move", "camera control", "novel view"),
            *("dolly", "orbit", "pan", "tilt", "crane", "truck", "arc shot", "fly through"),
            *("camera animation", "camera keyframes", "virtual camera", "viewpoint"),
        ),
    ),
    "MemV2VImportCameraTrajectory": _Place(
        "cameras",
        (
            *("camera path", "camera file", "load camera", "blender camera", "nerfstudio"),
            *("colmap", "recammaster", "omnicam", "realestate10k", "camera track"),
        ),
    ),
    "MemV2VEstimateSourceCamera": _Place(
        "cameras",
        ("camera tracking", "match move", "camera solve", "depth anything", "camera motion"),
    ),
    "MemV2VPlaybackTime": _Place(
        "cameras",
        (
            *("slow motion", "bullet time", "freeze time", "reverse video", "retime"),
            *("time remap", "spacetimepilot"),
        ),
    ),
    "MemV2VExportCameraTrajectory": _Place(
        "cameras", ("camera path", "save camera", "camera file", "blender camera", "nerfstudio")
    ),
    "MemV2VPreviewCameraTrajectory": _Place(
        "cameras", ("camera path", "show camera", "camera view", "frustum", "camera motion")
    ),
    # Memory
    "MemoryCache": _Place(
        "memory",
        (
            *("memory bank", "wan memory", "video memory", "multi turn", "session"),
            *("consistent video", "turns", "takes", "history", "resume"),
        ),
    ),
    "MemV2VRecallTurn": _Place(
        "memory", ("memory bank", "load turn", "earlier turn", "load take", "decode again")
    ),
    "VideoFOVRetrieve": _Place(
        "memory",
        (
            *("memory retrieval", "field of view", "find memory", "why memory", "novel view"),
            *("memory bank", "overlap"),
        ),
    ),
    "MemV2VRecentRetrieve": _Place("memory", ("memory retrieval", "find memory", "last turns")),
    "DynamicTokenize": _Place(
        "memory", ("token plan", "memory cost", "token budget", "compress memory", "memory tokens")
    ),
    # Sampling
    "MemV2VApplyMemory": _Place(
        "sampling",
        (
            *("wan memory", "multi turn", "consistent video", "reference video", "recammaster"),
            *("video to video", "v2v", "memory patch"),
        ),
    ),
    "MemoryV2VSampler": _Place(
        "sampling",
        (
            *("multi turn", "novel view", "re-shoot", "reshoot", "recammaster", "wan memory"),
            *("consistent video", "video to video", "v2v", "memory sampler"),
        ),
    ),
    "MemV2VReshootVideo": _Place(
        "sampling",
        (
            *("reshoot", "novel view", "multi turn", "camera path", "camera motion", "recammaster"),
            *("new angle", "consistent video", "multi view", "video to video", "v2v", "dolly"),
            *("orbit",),
        ),
    ),
    # Long videos
    "MemV2VSplitSegments": _Place(
        "long video", ("cut video", "shots", "scene detection", "chunks")
    ),
    "DinoSegmentRetrieve": _Place(
        "long video", ("memory retrieval", "find memory", "similar segments", "dinov2")
    ),
    "StitchSegments": _Place("long video", ("join video", "merge video", "blend segments")),
    "MemV2VEditLongVideo": _Place(
        "long video",
        (
            *("lucy", "lucy edit", "bernini", "video editing", "edit video", "prompt edit"),
            *("consistent video", "video to video", "v2v", "infinite video", "whole video"),
        ),
    ),
    # Looking at results
    "MemV2VCompareTurns": _Place(
        "look",
        (
            *("compare video", "video compare", "heat map", "wipe", "side by side", "a/b"),
            *("before after", "difference", "split screen", "sync player", "consistent video"),
        ),
    ),
    "MemV2VConsistencyReport": _Place(
        "look", ("heat map", "consistent video", "compare video", "difference", "metrics", "score")
    ),
    "MemV2VScoreTurns": _Place(
        "look",
        (
            *("metrics", "score video", "evaluate video", "quality", "flicker", "benchmark"),
            *("dino", "clip score", "lpips", "psnr", "consistent video", "compare video"),
        ),
    ),
}


def in_menu(node_id: str) -> dict[str, Any]:
    """Schema arguments of a node: its category, and the words where ComfyUI takes them."""
    folder, words = _PLACES[node_id]
    place: dict[str, Any] = {"category": f"{CATEGORY}/{folder}"}
    # Asked of the class, not of a version number.
    if any(field.name == "search_aliases" for field in fields(io.Schema)):
        place["search_aliases"] = list(words)
    return place
