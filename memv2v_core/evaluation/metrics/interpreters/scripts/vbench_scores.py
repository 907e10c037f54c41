"""Six measures of one video by the package vbench 0.1.5, in an environment that has it.

The package reads MP4 files alone, so the video comes as one without loss, and each time the frames
that it decodes are held against those that were sent. Its own functions measure; only its networks
are loaded once here, where its class VBench loads them anew for each call.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

# What a measure needs: it compares neighbours, or every second frame with what lies between.
LEAST_FRAMES = {
    "subject_consistency": 2,
    "background_consistency": 2,
    "aesthetic_quality": 1,
    "imaging_quality": 1,
    "temporal_flickering": 2,
    "motion_smoothness": 3,
}


def start(settings: dict[str, Any]) -> tuple[Callable[..., dict[str, Any]], dict[str, Any]]:
    """What answers requests, and the version of the package."""
    measures = _measures(settings["files"], settings["device"])
    load_video = import_module("vbench.utils").load_video

    def answer(request: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        path, frames = request["video"], arrays["frames"]
        decoded = np.asarray(load_video(path, return_tensor=False))
        if decoded.shape != frames.shape or (decoded != frames).any():
            raise RuntimeError("the video that the package decodes is not the one that was sent")
        with torch.no_grad():
            return {
                "scores": [
                    float(measure(path)) if len(frames) >= LEAST_FRAMES[name] else None
                    for name, measure in measures.items()
                ]
            }

    return answer, {"version": version("vbench")}


def _measures(files: dict[str, str], device: str) -> dict[str, Callable[[str], float]]:
    """Each measure of the path of a video, with its networks loaded as the package loads them."""
    inside = {name: import_module(f"vbench.{name}") for name in LEAST_FRAMES}
    clip = import_module("clip")
    dino = torch.hub.load("facebookresearch/dino:main", "dino_vitb16").to(device).eval()
    clip_b, prepare = clip.load(files["clip_b"], device=device)
    clip_l, _ = clip.load(files["clip_l"], device=device)
    head = inside["aesthetic_quality"].get_aesthetic_model(str(Path(files["head"]).parent))
    musiq = import_module("pyiqa.archs.musiq_arch").MUSIQ(pretrained_model_path=files["musiq"])
    interpolation = Path(str(import_module("vbench").__file__)).parent / "third_party/amt/cfgs"
    # The package tells a GPU by the text "cuda".
    motion = inside["motion_smoothness"].MotionSmoothness(
        str(interpolation / "AMT-S.yaml"), files["amt"], device
    )
    head, musiq = head.to(device).eval(), musiq.to(device).eval()
    return {
        "subject_consistency": lambda path: inside["subject_consistency"].subject_consistency(
            dino, [path], device, False
        )[0],
        "background_consistency": lambda path: inside[
            "background_consistency"
        ].background_consistency(clip_b, prepare, [path], device, False)[0],
        "aesthetic_quality": lambda path: inside["aesthetic_quality"].laion_aesthetic(
            head, clip_l, [path], device
        )[0],
        "imaging_quality": lambda path: inside["imaging_quality"].technical_quality(
            musiq, [path], device
        )[0],
        "temporal_flickering": lambda path: inside["temporal_flickering"].temporal_flickering(
            [path]
        )[0],
        "motion_smoothness": lambda path: inside["motion_smoothness"].motion_smoothness(
            motion, [path]
        )[0],
    }
