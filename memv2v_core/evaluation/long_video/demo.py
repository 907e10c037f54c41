"""What the demo of long videos shows: how far the segments of each arm differ, and two pictures.

    python -m memv2v_core.evaluation.long_video.demo SHEET.png LOOP.webp < spec.json

The spec is {"source": clip, "arms": {name: clip}, "segment": frames, "overlap": frames,
"rendered": null or {"seed": number, "shots": number, "kind": of the edit}}. Clips are video files
of one size and length. Everything is known of a rendered clip. Of any other clip only the amount of
change can be measured; few of its frames are held, and it gets no loop. The measures are printed as
JSON.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import torch

from ...clips.segments import SegmentPlan, plan_segments
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...pictures.loop import save_loop
from ...synthetic.demo_clips import WORLD_OF_SHOT, demo_scenes, shot_spans
from ...synthetic.edits import EditKind
from ...synthetic.rendering import render_world
from ..metrics.segment_looks import (
    Look,
    SceneVideo,
    background_psnr,
    change_mask,
    difference_between,
    joined_scenes,
    segment_look,
)
from .clips import film

NUM_COLUMNS = 10
LABELS = {"memory": "with memory", "independent": "each segment alone"}
# The loop shows every other frame, faster than life: 240 frames in 12 seconds.
LOOP_STEP, LOOP_RATE, LOOP_SCALE = 2, 10.0, 3


def read_clip(path: str) -> torch.Tensor:
    """The frames (F, 3, H, W) in [0, 1] of a video file."""
    return torch.stack(list(frames_of(path)))


def frames_of(path: str) -> Iterator[torch.Tensor]:
    """The frames (3, H, W) in [0, 1] of a video file, one after the other."""
    with av.open(path) as file:
        for frame in file.decode(video=0):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(-1, 0).float() / 255


def rendered_scene(
    num_frames: int, size: int, seed: int, shots: int, kind: EditKind
) -> tuple[SceneVideo, torch.Tensor]:
    """What is known of a rendered demo clip, and one right answer (F, 3, H, W)."""
    parts, truths = [], []
    for (world, edit), frames in zip(
        demo_scenes(seed, shots, kind), shot_spans(shots, num_frames), strict=True
    ):
        parts.append(film(world, edit, frames, size))
        truths.append(render_world(world, frames, size, edit))
    return joined_scenes(parts), torch.cat(truths)


def scene_differences(
    edited: torch.Tensor, scene: SceneVideo, plan: SegmentPlan, world_of_shot: Sequence[int]
) -> dict[str, float]:
    """Mean difference in colour and shape between segments that show one world, and the
    background's PSNR against the source."""
    looks: list[tuple[int, Look]] = []
    for segment in plan.segments:
        look = segment_look(
            edited[segment.start : segment.stop], scene.frames(segment.start, segment.stop)
        )
        if look is not None:
            looks.append((world_of_shot[segment.shot], look))
    pairs = [(a, b) for (i, a), (j, b) in combinations(looks, 2) if i == j]
    colour, shape = difference_between(pairs)
    edited_share = sum(look.is_edited for _, look in looks) / len(looks)
    psnr = background_psnr(edited, scene)
    return {"colour": colour, "shape": shape, "background_psnr": psnr, "edited_share": edited_share}


def measure(spec: dict[str, Any], sheet: Path, loop: Path) -> dict[str, dict[str, float]]:
    """The measures of every arm; writes the contact sheet, and of a rendered clip the loop."""
    if spec["rendered"] is None:
        return measure_footage(spec["source"], spec["arms"], sheet)
    source = read_clip(spec["source"])
    arms = {name: read_clip(path) for name, path in spec["arms"].items()}
    scene, truth = rendered_scene(len(source), source.shape[-1], **spec["rendered"])
    num_shots = spec["rendered"]["shots"]
    shots = [(span.start, span.stop) for span in shot_spans(num_shots, len(source))]
    plan = plan_segments(len(source), spec["segment"], spec["overlap"], 1, shots)
    rows = [*_rows(source, arms), SheetRow("one right answer", truth)]
    contact_sheet(rows, _columns(len(source))).save(sheet)
    save_loop(_rows(source, arms), loop, LOOP_RATE, LOOP_STEP, LOOP_SCALE)
    return {
        name: scene_differences(video, scene, plan, WORLD_OF_SHOT[num_shots])
        for name, video in arms.items()
    }


def measure_footage(source: str, arms: dict[str, str], sheet: Path) -> dict[str, dict[str, float]]:
    """Which share of a clip every arm changed; one frame of each file is held, and those on the
    contact sheet.
    """
    num_frames = sum(1 for _ in frames_of(source))
    shown = _columns(num_frames)
    kept: dict[str, list[torch.Tensor]] = {name: [] for name in ("source", *arms)}
    changed = dict.fromkeys(arms, 0.0)
    videos = zip(*map(frames_of, (source, *arms.values())), strict=True)
    for i, pictures in enumerate(videos):
        for name, picture in zip(kept, pictures, strict=True):
            if i in shown:
                kept[name].append(picture)
        for name, picture in zip(arms, pictures[1:], strict=True):
            changed[name] += (
                float(change_mask(picture[None], pictures[0][None]).mean()) / num_frames
            )
    rows = {name: torch.stack(frames) for name, frames in kept.items()}
    contact_sheet(_rows(rows.pop("source"), rows), range(len(shown))).save(sheet)
    return {name: {"changed_share": share} for name, share in changed.items()}


def _rows(source: torch.Tensor, arms: dict[str, torch.Tensor]) -> list[SheetRow]:
    return [
        SheetRow("source", source),
        *(SheetRow(LABELS.get(name, name), video) for name, video in arms.items()),
    ]


def _columns(num_frames: int) -> range:
    step = max(1, num_frames // NUM_COLUMNS)
    return range(step // 2, num_frames, step)[:NUM_COLUMNS]


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin), Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout)
