"""What the demo of long videos shows: how far the segments of each arm differ, and a contact sheet.

    python -m memv2v_core.evaluation.long_demo SHEET.png < spec.json

where the spec is {"source": clip, "arms": {name: clip}, "segment": frames, "rendered": null or {"seed": number,
"shots": number, "kind": of the edit}}. Clips are video files of one size and length. Of a rendered clip everything is
known; of any other clip only how much was changed can be said. The measures are printed as JSON.
"""

import json
import sys
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import av
import torch

from ..training.demo_clips import WORLD_OF_SHOT, demo_scenes, shot_spans
from ..training.worlds import render
from .contact_sheet import SheetRow, contact_sheet
from .long_video_clips import film
from .segment_measures import (
    Look,
    SceneVideo,
    background_psnr,
    change_mask,
    difference_between,
    joined_scenes,
    segment_look,
)

NUM_COLUMNS = 10


def read_clip(path: str) -> torch.Tensor:
    """The frames (F, 3, H, W) in [0, 1] of a video file."""
    with av.open(path) as file:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    return torch.stack(frames).movedim(-1, 1).float() / 255


def rendered_scene(num_frames: int, size: int, seed: int, shots: int, kind: str) -> tuple[SceneVideo, torch.Tensor]:
    """What is known of a rendered demo clip, and one right answer (F, 3, H, W)."""
    parts, truths = [], []
    for (world, edit), frames in zip(demo_scenes(seed, shots, kind), shot_spans(shots, num_frames), strict=True):
        parts.append(film(world, edit, frames, size))
        truths.append(render(world, frames, size, edit))
    return joined_scenes(parts), torch.cat(truths)


def scene_differences(
    edited: torch.Tensor, scene: SceneVideo, shots: Sequence[tuple[int, range]], length: int
) -> dict[str, float]:
    """Mean difference in colour and shape between pieces of `length` frames that show one scene, and the background's
    PSNR against the source. shots: which world each shows, and its frames.
    """
    looks: list[tuple[int, Look]] = []
    for number, span in shots:
        for first in span[::length]:
            last = min(first + length, span.stop)
            look = segment_look(edited[first:last], scene.frames(first, last))
            if look is not None:
                looks.append((number, look))
    pairs = [(a, b) for (i, a), (j, b) in combinations(looks, 2) if i == j]
    colour, shape = difference_between(pairs)
    edited_share = sum(look.is_edited for _, look in looks) / len(looks)
    psnr = background_psnr(edited, scene)
    return {"colour": colour, "shape": shape, "background_psnr": psnr, "edited_share": edited_share}


def measure(spec: dict[str, Any], sheet: str) -> dict[str, dict[str, float]]:
    """The measures of every arm; writes the contact sheet."""
    source = read_clip(spec["source"])
    arms = {name: read_clip(path) for name, path in spec["arms"].items()}
    rows = [SheetRow("source", source), *(SheetRow(f"edited, {name}", video) for name, video in arms.items())]
    rendered = spec["rendered"]
    if rendered is None:
        measures = {name: {"changed_share": float(change_mask(v, source).mean())} for name, v in arms.items()}
    else:
        scene, truth = rendered_scene(len(source), source.shape[-1], **rendered)
        rows.append(SheetRow("one right answer", truth))
        count = rendered["shots"]
        shots = tuple(zip(WORLD_OF_SHOT[count], shot_spans(count, len(source)), strict=True))
        measures = {name: scene_differences(video, scene, shots, spec["segment"]) for name, video in arms.items()}
    step = max(1, len(source) // NUM_COLUMNS)
    contact_sheet(rows, range(step // 2, len(source), step)[:NUM_COLUMNS]).save(sheet)
    return measures


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin), sys.argv[1]), sys.stdout)
