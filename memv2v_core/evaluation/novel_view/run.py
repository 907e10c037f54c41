"""Measures a built-in model on held-out scenes: a table on the terminal and a JSON file.

    python -m memv2v_core.evaluation --scenes 64 --output evaluation.json [--builtin novel_view]
        [--sheet sheet.png] [--workers 2] [--steps 50] [--refresh-every 4]

Scene i is the same for every number of scenes. See `scenes` for the scenes and `arms` for the
compared turns. `--task long --help` describes the evaluation of long videos.
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
from ...builtin.info import BuiltinInfo
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...synthetic.panoramas import SceneConfig
from ..claims import Measured
from ..held_out_seeds import HELD_OUT_SEED
from ..measured_model import add_model_options, bundle_of, measured_bundle, recipe_of
from ..parallel import mapped
from ..report import claim_record, json_number, machine, require_places, settings_record, table
from ..result import Evaluation, Measures
from ..statistics import CONFIDENCE, NUM_RESAMPLES
from .arms import MERGE_SHARE, Arms, SceneTurns, sample_arms, sample_detail_arms
from .claims import all_claims
from .measures import measure_arms, measure_detail_arms
from .responsiveness import FinishedSweep, block_agreements, responsiveness_by_block
from .scenes import held_out_scene, lens_of, unseen_overlap

# Scenes on the contact sheet.
NUM_SHOWN = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SceneResult:
    """The result of one scene.

    scores: responsiveness (blocks, 1, frames), by whether keys were rotated; empty where it was not
    measured.
    """

    measures: Measures
    scores: dict[bool, torch.Tensor]
    sheet: tuple[SheetRow, ...]


@dataclass(frozen=True, eq=False)
class SceneWork:
    """Measures one scene after another.

    Another process gets the model's name, not the model.
    """

    bundle: Bundle
    num_detail_scenes: int

    def __call__(self, index: int) -> SceneResult:
        has_details, is_shown = index < self.num_detail_scenes, index < NUM_SHOWN
        return measure_scene(self.bundle, index, has_details, is_shown)

    def __reduce__(self) -> tuple[Callable[..., "SceneWork"], tuple[Any, ...]]:
        return _work_of, (self.num_detail_scenes, *recipe_of(self.bundle))


@cache
def _work_of(num_detail_scenes: int, *recipe: Any) -> SceneWork:
    # Cached: each process loads the model once.
    return SceneWork(measured_bundle(*recipe), num_detail_scenes)


@torch.no_grad()
def measure_scene(
    bundle: Bundle, index: int, has_details: bool, is_shown: bool = False
) -> SceneResult:
    """Every measure of scene `index`.

    has_details: whether the arms beyond the main ones are measured too.
    """
    turns = SceneTurns.of(bundle, held_out_scene(index, bundle.info))
    arms = sample_arms(turns)
    measures, scores = measure_arms(turns, arms), {}
    # These arms take most of the time, so only some scenes have them.
    if has_details:
        details = sample_detail_arms(turns, arms)
        measures |= measure_detail_arms(turns, arms, details)
        scores = {
            rotated: responsiveness_by_block(turns, FinishedSweep.of(arms, details), rotated)
            for rotated in (False, True)
        }
    sheet: tuple[SheetRow, ...] = ()
    if is_shown:
        scene = turns.scene
        region = unseen_overlap(scene.second, scene.first, scene.source)
        sheet = sheet_rows(turns, arms, region)
    return SceneResult(measures, scores, sheet)


def evaluate(
    bundle: Bundle, num_scenes: int, num_detail_scenes: int, num_workers: int = 1
) -> Evaluation:
    """The held-out table of `bundle` over scenes 0 to `num_scenes` - 1.

    num_detail_scenes: how many of them, from 0 on, also get the arms beyond the main ones.
    num_workers: processes that share the scenes; the table is the same.

    Raises: ValueError for fewer than 2 scenes of either.
    """
    require_detail_scenes(num_detail_scenes, num_scenes)
    # Step 1: every scene.
    started, results = time.monotonic(), []
    work = SceneWork(bundle, num_detail_scenes)
    for result in mapped(work, range(num_scenes), num_workers):
        results.append(result)
        seconds = time.monotonic() - started
        log.info("%d of %d scenes, %.0f s", len(results), num_scenes, seconds)
    # Step 2: Table 1, over the scenes with details.
    agreements = [
        agreement
        for rotated_keys in (False, True)
        for agreement in block_agreements(
            torch.cat([part.scores[rotated_keys] for part in results if part.scores], dim=1),
            rotated_keys,
        )
    ]
    scenes = tuple(result.measures for result in results)
    claims = all_claims(Measured(columns(scenes)), agreements)
    sheet = tuple(row for result in results for row in result.sheet)
    return Evaluation(claims, scenes, sheet, time.monotonic() - started)


def require_detail_scenes(num_detail_scenes: int, num_scenes: int) -> None:
    """Raise ValueError for fewer than 2 scenes, or fewer than 2 of them with details."""
    if num_scenes < 2:
        raise ValueError(
            f"scenes got {num_scenes}, wanted at least 2 for an interval; raise --scenes"
        )
    if not 2 <= num_detail_scenes <= num_scenes:
        raise ValueError(
            f"detail scenes got {num_detail_scenes}, wanted 2 to {num_scenes}, the number of "
            "scenes; raise one of them"
        )


def columns(scenes: Sequence[Measures]) -> dict[str, torch.Tensor]:
    """Values (n,) of every measure, over the scenes that have it.

    These are always the first n scenes.
    """
    names = scenes[0]
    return {
        name: torch.tensor([scene[name] for scene in scenes if name in scene], dtype=torch.float64)
        for name in names
    }


def sheet_rows(turns: SceneTurns, arms: Arms, region: torch.Tensor) -> tuple[SheetRow, ...]:
    """Rows of one scene: source, turn 1, turn 2 with and without memory, and the truth.

    region: (F, 1, H, W), pixels of turn 2 that turn 1 shows and the source never.
    """
    scene = turns.scene
    truth = "turn 2, truth (bright: seen by turn 1, never by the source)"
    return (
        SheetRow(f"scene {scene.index}: source", scene.source.frames),
        SheetRow("turn 1, generated", turns.decode(arms.first)),
        SheetRow("turn 2 with memory", turns.decode(arms.second_memory)),
        SheetRow("turn 2 without memory", turns.decode(arms.second_none)),
        SheetRow(truth, scene.second.frames, region),
    )


def evaluation_record(
    evaluation: Evaluation, device: torch.device, command: str, configs: Sequence[Any]
) -> dict[str, Any]:
    """Everything about one evaluation as JSON values.

    configs: of the model and of the scenes.
    """
    means = {name: values.nanmean().item() for name, values in columns(evaluation.scenes).items()}
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
            **settings_record(*configs),
        },
        "claims": [claim_record(claim) for claim in evaluation.claims],
        "means": {name: json_number(value) for name, value in means.items()},
        "scenes": [
            {name: json_number(value) for name, value in scene.items()}
            for scene in evaluation.scenes
        ],
    }


@dataclass(frozen=True, eq=False)
class SceneTable:
    """A table over held-out scenes, as a command makes it.

    words: of the command line that choose it. about: its description. details: what the scenes with
    details are for. default: the model. output: the JSON file. evaluate: makes the table of a
    model, for so many scenes, scenes with details and workers. configs: what the record tells of
    model and scenes.
    """

    words: tuple[str, ...]
    about: str
    details: str
    default: str
    output: Path
    evaluate: Callable[[Bundle, int, int, int], Evaluation]
    configs: Callable[[BuiltinInfo], Sequence[Any]]


def run_command(made: SceneTable, arguments: Sequence[str] | None) -> None:
    """Make a table as these arguments ask for it; None takes those of the process."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser(made).parse_args(words)
    require_places(options.output, options.sheet)
    num_detail = (
        max(2, options.scenes // 2) if options.detail_scenes is None else options.detail_scenes
    )
    bundle = bundle_of(options)
    evaluation = made.evaluate(bundle, options.scenes, num_detail, options.workers)
    command = shlex.join(["python", "-m", "memv2v_core.evaluation", *made.words, *words])
    record = evaluation_record(evaluation, bundle.device, command, made.configs(bundle.info))
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.sheet is not None:
        contact_sheet(evaluation.sheet, range(0, bundle.info.num_frames, 2)).save(options.sheet)
    log.info("\n%s\n", table(evaluation.claims))
    log.info("%d scenes, %.0f s; written to %s", options.scenes, evaluation.seconds, options.output)


def _parser(made: SceneTable) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=made.about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scenes", type=int, default=64, help="how many held-out scenes, at least 2"
    )
    parser.add_argument(
        "--detail-scenes",
        type=int,
        help=f"how many of them for {made.details}; half if not given",
    )
    parser.add_argument("--output", type=Path, default=made.output)
    add_model_options(parser, "novel_view", made.default)
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet PNG of the first scenes"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that share the scenes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run_command(
        SceneTable(
            (),
            __doc__ or "",
            "1x8x8, three turns, merging and responsiveness",
            "novel_view",
            Path("evaluation.json"),
            evaluate,
            lambda info: (info, SceneConfig(fov_deg=lens_of(info))),
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
