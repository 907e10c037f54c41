"""Measures a built-in editor on held-out long clips: a table on the terminal, a JSON file and a
Markdown table.

    python -m memv2v_core.evaluation --task long --clips 48 --output evaluation_long.json [--sheet sheet.png]

Clip i of a family is the same for every number of clips. See `long_video_clips` for the clips,
`long_video` for what is compared and `segment_measures` for how.
"""

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ...builtin.bundle import Bundle, builtin_names, load_bundle
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...retrieval.descriptors import LIGHT, default_min_similarity
from ...synthetic.worlds import WorldConfig
from ..metrics.segment_looks import CHANGE_FROM, CHANGE_TO, CROP_RADII, MIN_AMOUNT, MIN_FRAMES
from ..novel_view.claims import Measured
from ..novel_view.held_out import HELD_OUT_SEED
from ..novel_view.run import Evaluation
from ..report import claim_record, json_number, machine, markdown_table, settings_record, table
from ..statistics import CONFIDENCE, NUM_RESAMPLES
from .arms import NUM_MEMORIES, LongBatch
from .claims import long_video_claims
from .clips import FAMILIES, NUM_SEGMENTS, Family, LongClip, long_clip
from .measures import LEAK_DISTANCE, TRUE_ARMS, Measures, Videos, measure_batch, sample_arms

log = logging.getLogger(__name__)
BATCH_SIZE = 8
NUM_SHOWN = 2  # clips of each family on the contact sheet
SHEET_STRIDE = 4


@torch.no_grad()
def evaluate_long(bundle: Bundle, num_clips: int, num_other_clips: int) -> Evaluation:
    """The long-video table over clips 0 to `num_clips` - 1 of one shot and `num_other_clips` of
    each other family.

    Raises: ValueError for a model of another task, and for fewer clips than hold two of open shape.
    """
    if bundle.info.task != "text_edit":
        raise ValueError(
            f"builtin got {bundle.info.name!r}, wanted a text-guided editor; use text_edit"
        )
    if min(num_clips, num_other_clips) < 4:
        raise ValueError(
            f"clips got {num_clips} and {num_other_clips}, wanted 4 or more of each; raise them"
        )
    started = time.monotonic()
    values: dict[str, list[float]] = {}
    rows: list[Measures] = []
    sheet: list[SheetRow] = []
    for family in FAMILIES:
        count = num_clips if family == "one_shot" else num_other_clips
        for clips in _batches(bundle, family, count):
            batch = LongBatch.of(bundle, clips)
            videos = sample_arms(batch, family)
            measured = measure_batch(batch, family, videos)
            rows += measured
            for row in measured:
                for name, value in row.items():
                    values.setdefault(name, []).append(value)
            sheet += sheet_rows(clips, videos, NUM_SHOWN - clips[0].index)
            log.info(
                "%s: %d of %d, %.0f s",
                family,
                clips[-1].index + 1,
                count,
                time.monotonic() - started,
            )
    columns = {name: torch.tensor(column, dtype=torch.float64) for name, column in values.items()}
    claims = long_video_claims(Measured(columns))
    return Evaluation(claims, tuple(rows), tuple(sheet), time.monotonic() - started)


def sheet_rows(clips: Sequence[LongClip], videos: Videos, count: int) -> list[SheetRow]:
    """Source and every arm of the first `count` clips."""
    rows = []
    for i, clip in enumerate(clips[: max(count, 0)]):
        rows.append(SheetRow(f"{clip.family} {clip.index}: {clip.instruction}", clip.scene.source))
        rows += [SheetRow(arm, video[i]) for arm, video in videos.items() if arm not in TRUE_ARMS]
    return rows


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
            "num_memories": NUM_MEMORIES,
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
    others = max(4, options.clips // 2) if options.other_clips is None else options.other_clips
    device = torch.device(options.device)
    bundle = load_bundle(options.builtin, device)
    evaluation = evaluate_long(bundle, options.clips, others)
    command = shlex.join(["python", "-m", "memv2v_core.evaluation", "--task", "long", *words])
    record = long_evaluation_record(evaluation, bundle, device, command)
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


def _batches(bundle: Bundle, family: Family, count: int) -> Iterator[tuple[LongClip, ...]]:
    for start in range(0, count, BATCH_SIZE):
        yield tuple(
            long_clip(family, i, bundle.info) for i in range(start, min(start + BATCH_SIZE, count))
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
    parser.add_argument("--builtin", choices=builtin_names("text_edit"), default="text_edit")
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet PNG of the first clips"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser
