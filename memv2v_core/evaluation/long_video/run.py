"""Measures a built-in editor on held-out long clips: a table, a JSON file and a Markdown table.

    python -m memv2v_core.evaluation --task long --clips 48 --output evaluation_long.json
        [--sheet sheet.png] [--workers 2] [--steps 50] [--refresh-every 4]

Clip i of a family is the same for every number of clips. See `clips` for the clips, `arms` for the
compared edits and `metrics.segment_looks` for the measures.
"""

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ...builtin.bundle import Bundle
from ...long_edit.settings import MemorySettings
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...retrieval.descriptors import LIGHT, default_min_similarity
from ...synthetic.worlds import WorldConfig
from ..claims import Measured
from ..held_out_seeds import HELD_OUT_SEED
from ..measured_model import add_model_options, bundle_of, measured_bundle, recipe_of
from ..metrics.segment_agreement import LEAK_DISTANCE
from ..metrics.segment_looks import CHANGE_FROM, CHANGE_TO, CROP_RADII, MIN_AMOUNT, MIN_FRAMES
from ..parallel import mapped
from ..report import (
    claim_record,
    json_number,
    machine,
    markdown_table,
    require_places,
    settings_record,
    table,
)
from ..result import Evaluation, Measures
from ..statistics import CONFIDENCE, NUM_RESAMPLES
from .arms import ClipHost
from .claims import long_video_claims
from .clips import FAMILIES, NUM_SEGMENTS, Family, LongClip, long_clip
from .measures import TRUE_ARMS, Videos, edited_videos, measure_clip

log = logging.getLogger(__name__)
# Clips of each family on the contact sheet.
NUM_SHOWN = 2
SHEET_STRIDE = 4


@dataclass(frozen=True, eq=False)
class ClipResult:
    """The result of one clip."""

    measures: Measures
    sheet: tuple[SheetRow, ...]


@dataclass(frozen=True, eq=False)
class ClipWork:
    """Edits and measures one clip after another.

    Another process gets the model's name, not the model.
    """

    bundle: Bundle

    def __call__(self, item: tuple[Family, int]) -> ClipResult:
        clip = long_clip(*item, self.bundle.info)
        host = ClipHost(self.bundle, clip)
        videos = edited_videos(host)
        # Only the first clips are shown, so the others need not keep their videos.
        sheet = sheet_rows(clip, videos) if clip.index < NUM_SHOWN else ()
        return ClipResult(measure_clip(clip, host.plan, videos), sheet)

    def __reduce__(self) -> tuple[Callable[..., "ClipWork"], tuple[Any, ...]]:
        return _work_of, recipe_of(self.bundle)


@cache
def _work_of(*recipe: Any) -> ClipWork:
    # Cached: each process loads the model once.
    return ClipWork(measured_bundle(*recipe))


def evaluate_long(
    bundle: Bundle, num_clips: int, num_other_clips: int, num_workers: int = 1
) -> Evaluation:
    """The long-video table of `bundle`.

    num_clips: clips of the family one_shot, from 0 on. num_other_clips: of each other family.
    num_workers: processes that share the clips; the table is the same.

    Raises: ValueError for a model of another task, and for fewer than 4 clips: less than two of
    them would have an open shape.
    """
    if bundle.info.task != "text_edit":
        raise ValueError(
            f"builtin got {bundle.info.name!r}, wanted a text-guided editor; use text_edit"
        )
    if min(num_clips, num_other_clips) < 4:
        raise ValueError(
            f"clips got {num_clips} and {num_other_clips}, wanted 4 or more of each; raise them"
        )
    # Step 1: edit and measure every clip.
    counts = {family: num_other_clips for family in FAMILIES} | {"one_shot": num_clips}
    items = [(family, idx) for family in FAMILIES for idx in range(counts[family])]
    started, results = time.monotonic(), []
    for item, result in zip(items, mapped(ClipWork(bundle), items, num_workers), strict=True):
        results.append(result)
        family, idx = item
        seconds = time.monotonic() - started
        log.info("%s: %d of %d, %.0f s", family, idx + 1, counts[family], seconds)
    # Step 2: one column per measure, over the clips that have it.
    values: dict[str, list[float]] = {}
    for result in results:
        for name, value in result.measures.items():
            values.setdefault(name, []).append(value)
    # float64, as the intervals are computed.
    columns = {name: torch.tensor(column, dtype=torch.float64) for name, column in values.items()}
    return Evaluation(
        claims=long_video_claims(Measured(columns)),
        scenes=tuple(result.measures for result in results),
        sheet=tuple(row for result in results for row in result.sheet),
        seconds=time.monotonic() - started,
    )


def sheet_rows(clip: LongClip, videos: Videos) -> tuple[SheetRow, ...]:
    """Rows for the source and every arm of one clip."""
    title = f"{clip.family} {clip.index}: {clip.instruction}"
    arms = (SheetRow(arm, video) for arm, video in videos.items() if arm not in TRUE_ARMS)
    return SheetRow(title, clip.scene.source), *arms


def long_evaluation_record(
    evaluation: Evaluation, bundle: Bundle, device: torch.device, command: str
) -> dict[str, Any]:
    """Everything about one evaluation as JSON values."""
    return {
        "command": command,
        "machine": machine(device),
        "seconds": round(evaluation.seconds, 1),
        "num_clips": len(evaluation.scenes),
        "passed": evaluation.passed,
        "settings": {
            "held_out_seed": HELD_OUT_SEED,
            "confidence": CONFIDENCE,
            "num_resamples": NUM_RESAMPLES,
            "num_segments": NUM_SEGMENTS,
            "num_memories": MemorySettings().k,
            "descriptor": LIGHT,
            "min_similarity": default_min_similarity(LIGHT),
            "leak_distance": LEAK_DISTANCE,
            "change": [CHANGE_FROM, CHANGE_TO],
            "crop_radii": CROP_RADII,
            "min_amount": MIN_AMOUNT,
            "min_frames": MIN_FRAMES,
            **settings_record(bundle.info, WorldConfig()),
        },
        "claims": [claim_record(claim) for claim in evaluation.claims],
        "clips": [
            {name: json_number(value) for name, value in clip.items()} for clip in evaluation.scenes
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line, after `--task long`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    require_places(options.output, options.sheet)
    # Half as many clips for each of the other families.
    others = max(4, options.clips // 2) if options.other_clips is None else options.other_clips
    bundle = bundle_of(options)
    evaluation = evaluate_long(bundle, options.clips, others, options.workers)
    command = shlex.join(["python", "-m", "memv2v_core.evaluation", "--task", "long", *words])
    record = long_evaluation_record(evaluation, bundle, bundle.device, command)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    options.output.with_suffix(".md").write_text(
        markdown_table(evaluation.claims), encoding="utf-8"
    )
    if options.sheet is not None:
        shown = range(0, NUM_SEGMENTS * bundle.info.num_frames, SHEET_STRIDE)
        contact_sheet(evaluation.sheet, shown).save(options.sheet)
    log.info("\n%s\n", table(evaluation.claims))
    log.info(
        "%d clips, %.0f s; written to %s",
        len(evaluation.scenes),
        evaluation.seconds,
        options.output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memv2v_core.evaluation --task long",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, default=48, help="how many one-shot clips, at least 4")
    parser.add_argument(
        "--other-clips", type=int, help="how many of every other kind; half if not given"
    )
    parser.add_argument("--output", type=Path, default=Path("evaluation_long.json"))
    add_model_options(parser, "text_edit", "text_edit")
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet PNG of the first clips"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that share the clips")
    return parser
