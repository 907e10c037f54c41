"""Measures a built-in model on held-out scenes: a table on the terminal and a JSON file.

    python -m memv2v_core.evaluation --scenes 64 --output evaluation.json [--builtin novel_view] [--sheet sheet.png]

Scene i is the same for every number of scenes. See `held_out` for the scenes and `arms` for what is
compared. `--task long --help` describes the evaluation of long videos.
"""

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...builtin.bundle import Bundle, builtin_names, load_bundle
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...synthetic.panoramas import SceneConfig
from ..report import claim_record, json_number, machine, settings_record, table
from ..statistics import CONFIDENCE, NUM_RESAMPLES
from .arms import MERGE_SHARE, Arms, Batch, decode, sample_arms, sample_detail_arms
from .claims import Claim, Measured, all_claims
from .held_out import HELD_OUT_SEED, held_out_scene, unseen_overlap
from .measures import Measures, measure_arms, measure_detail_arms
from .responsiveness import block_agreements, responsiveness_by_block

log = logging.getLogger(__name__)
BATCH_SIZE = 4


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Claims, the measures of every scene that they were made of, rows for a contact sheet, and the
    time it took.
    """

    claims: tuple[Claim, ...]
    scenes: tuple[Measures, ...]
    sheet: tuple[SheetRow, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        return all(claim.passed is not False for claim in self.claims)


@dataclass(eq=False)
class _Collected:
    """What has been measured so far; responsiveness (blocks, B, frames) by whether keys were
    rotated.
    """

    scenes: list[Measures] = field(default_factory=list)
    scores: dict[bool, list[torch.Tensor]] = field(default_factory=lambda: {False: [], True: []})
    sheet: tuple[SheetRow, ...] = ()


@torch.no_grad()
def evaluate(bundle: Bundle, num_scenes: int, num_detail_scenes: int) -> Evaluation:
    """The held-out table of `bundle` over scenes 0 to `num_scenes` - 1.

    num_detail_scenes: how many of them, from 0 on, also get the arms beyond the main ones.

    Raises: ValueError for fewer than 2 scenes of either.
    """
    if not 2 <= num_detail_scenes <= num_scenes:
        raise ValueError(
            f"detail scenes got {num_detail_scenes}, wanted 2 to {num_scenes}, the number of "
            "scenes; raise one of them"
        )
    started, collected = time.monotonic(), _Collected()
    for start in _batch_starts(num_scenes, num_detail_scenes):
        stop = min(
            start + BATCH_SIZE, num_detail_scenes if start < num_detail_scenes else num_scenes
        )
        _add_batch(collected, bundle, range(start, stop), has_details=start < num_detail_scenes)
        log.info("%d of %d scenes, %.0f s", stop, num_scenes, time.monotonic() - started)
    agreements = tuple(
        agreement
        for rotated_keys, parts in collected.scores.items()
        for agreement in block_agreements(torch.cat(parts, dim=1), rotated_keys)
    )
    claims = all_claims(Measured(_columns(collected.scenes)), agreements)
    return Evaluation(claims, tuple(collected.scenes), collected.sheet, time.monotonic() - started)


def _batch_starts(num_scenes: int, num_detail_scenes: int) -> list[int]:
    return [
        *range(0, num_detail_scenes, BATCH_SIZE),
        *range(num_detail_scenes, num_scenes, BATCH_SIZE),
    ]


def _add_batch(collected: _Collected, bundle: Bundle, indices: range, has_details: bool) -> None:
    batch = Batch.of(bundle, [held_out_scene(i, bundle.info) for i in indices])
    arms = sample_arms(batch)
    measures = measure_arms(batch, arms)
    if has_details:
        details = sample_detail_arms(batch, arms)
        more = measure_detail_arms(batch, arms, details)
        measures = [{**main, **other} for main, other in zip(measures, more, strict=True)]
        for rotated_keys, parts in collected.scores.items():
            parts.append(responsiveness_by_block(batch, arms, details, rotated_keys))
    collected.scenes += measures
    collected.sheet = collected.sheet or sheet_rows(batch, arms)


def _columns(scenes: Sequence[Measures]) -> dict[str, torch.Tensor]:
    """Values (n,) of every measure over the scenes that have it: always the first n."""
    names = scenes[0]
    return {
        name: torch.tensor([scene[name] for scene in scenes if name in scene], dtype=torch.float64)
        for name in names
    }


def sheet_rows(batch: Batch, arms: Arms) -> tuple[SheetRow, ...]:
    """Source, turn 1, turn 2 with and without memory and the truth, for every scene of the
    batch."""
    names = ("first", "second_memory", "second_none")
    first, with_memory, without = (decode(batch.bundle, getattr(arms, name)) for name in names)
    rows = []
    for i, scene in enumerate(batch.scenes):
        region = unseen_overlap(scene.second, scene.first, scene.source)
        rows += [
            SheetRow(f"scene {scene.index}: source", scene.source.frames),
            SheetRow("turn 1, generated", first[i]),
            SheetRow("turn 2 with memory", with_memory[i]),
            SheetRow("turn 2 without memory", without[i]),
            SheetRow(
                "turn 2, truth (bright: seen by turn 1, never by the source)",
                scene.second.frames,
                region,
            ),
        ]
    return tuple(rows)


def evaluation_record(
    evaluation: Evaluation, bundle: Bundle, device: torch.device, command: str
) -> dict[str, Any]:
    """Everything about one evaluation as JSON values."""
    means = {name: values.mean().item() for name, values in _columns(evaluation.scenes).items()}
    return {
        "command": command,
        "machine": machine(device),
        "seconds": round(evaluation.seconds, 1),
        "num_scenes": len(evaluation.scenes),
        "passed": evaluation.passed,
        "settings": {
            "held_out_seed": HELD_OUT_SEED,
            "confidence": CONFIDENCE,
            "num_resamples": NUM_RESAMPLES,
            "merge_share": MERGE_SHARE,
            **settings_record(bundle.info, SceneConfig(fov_deg=bundle.info.fov_deg)),
        },
        "claims": [claim_record(claim) for claim in evaluation.claims],
        "means": {name: json_number(value) for name, value in means.items()},
        "scenes": [
            {name: json_number(value) for name, value in scene.items()}
            for scene in evaluation.scenes
        ],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    num_detail = (
        max(2, options.scenes // 2) if options.detail_scenes is None else options.detail_scenes
    )
    device = torch.device(options.device)
    bundle = load_bundle(options.builtin, device)
    evaluation = evaluate(bundle, options.scenes, num_detail)
    command = shlex.join(["python", "-m", "memv2v_core.evaluation", *words])
    record = evaluation_record(evaluation, bundle, device, command)
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.sheet is not None:
        contact_sheet(evaluation.sheet, range(0, bundle.info.num_frames, 2)).save(options.sheet)
    log.info("\n%s\n", table(evaluation.claims))
    log.info("%d scenes, %.0f s; written to %s", options.scenes, evaluation.seconds, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scenes", type=int, default=64, help="how many held-out scenes, at least 2"
    )
    parser.add_argument(
        "--detail-scenes",
        type=int,
        help="how many of them for 1x8x8, three turns, merging and responsiveness; half if not "
        "given",
    )
    parser.add_argument("--output", type=Path, default=Path("evaluation.json"))
    parser.add_argument("--builtin", choices=builtin_names("novel_view"), default="novel_view")
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet PNG of the first scenes"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


if __name__ == "__main__":
    main()
