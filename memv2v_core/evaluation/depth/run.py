"""Measures a built-in model on held-out scenes with depth: a table on the terminal and a JSON file.

    python -m memv2v_core.evaluation --task depth --scenes 64 --output evaluation_depth.json
        [--builtin novel_view_depth] [--sheet sheet.png] [--workers 2]

Scene i is the same for every number of scenes and every model. See `scenes` for the scenes.
"""

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ...builtin.bundle import Bundle
from ...pictures.contact_sheet import SheetRow, contact_sheet
from ...synthetic.solids.making import SolidsConfig
from ...synthetic.solids.paths import SolidPathsConfig
from ...synthetic.solids.visibility import ever_seen, warp_by_depth
from ...tokens.reuse import ReuseConfig
from ..measured_model import add_model_options, bundle_of, measured_bundle, recipe_of
from ..metrics.consistency import masked_mae
from ..novel_view.arms import Arms, SceneTurns, sample_arms, sample_detail_arms
from ..novel_view.run import columns, evaluation_record
from ..novel_view.scenes import SECOND
from ..parallel import mapped
from ..report import table
from ..result import Evaluation, Measures
from .claims import REFRESHES, SomeMeasured, depth_claims
from .measures import measure_depth_arms, measure_depth_details, views
from .obedience import obedience_measures
from .overlap import overlap_measures
from .scenes import DepthScene, candidate_paths, depth_scene

# Scenes on the contact sheet, and scenes in which refreshes are measured.
NUM_SHOWN, NUM_REFRESHED = 6, 8

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DepthWork:
    """Measures one scene after another.

    Another process gets the model's name, not the model.
    """

    bundle: Bundle
    num_detail_scenes: int

    def __call__(self, index: int) -> tuple[Measures, tuple[SheetRow, ...]]:
        has_details, is_shown = index < self.num_detail_scenes, index < NUM_SHOWN
        return measure_depth_scene(self.bundle, index, has_details, is_shown)

    def __reduce__(self) -> tuple[Callable[..., "DepthWork"], tuple[Any, ...]]:
        return _work_of, (self.num_detail_scenes, *recipe_of(self.bundle))


@cache
def _work_of(num_detail_scenes: int, *recipe: Any) -> DepthWork:
    # Cached: each process loads the model once.
    return DepthWork(measured_bundle(*recipe), num_detail_scenes)


@torch.no_grad()
def measure_depth_scene(
    bundle: Bundle, index: int, has_details: bool, is_shown: bool = False
) -> tuple[Measures, tuple[SheetRow, ...]]:
    """Every measure of scene `index`, and its rows of the contact sheet.

    has_details: whether the arms beyond the main ones are measured too.
    """
    scene = depth_scene(index, bundle.info)
    turns = SceneTurns.of(bundle, scene)
    arms = sample_arms(turns)
    measures = measure_depth_arms(turns, arms)
    measures |= _obedience(turns, scene, arms)
    candidates = candidate_paths(index, bundle.info)
    measures |= overlap_measures(scene.solids, scene.second.path, candidates)
    # These arms take most of the time, so only some scenes have them.
    if has_details:
        measures |= measure_depth_details(turns, arms, sample_detail_arms(turns, arms))
    if index < NUM_REFRESHED:
        measures |= _refreshes(turns, scene, arms)
    return measures, sheet_rows(turns, scene, arms) if is_shown else ()


def _obedience(turns: SceneTurns, scene: DepthScene, arms: Arms) -> Measures:
    _, second, source = views(scene)
    clips = {
        "truth": turns.decode(turns.encode(second)),
        "none": turns.decode(arms.second_none),
        "memory": turns.decode(arms.second_memory),
    }
    # Only where the source told what is there does a clip show how its camera moved.
    seen = ever_seen(scene.solids, second, source)
    return obedience_measures(scene.solids, second, clips, seen)


def _refreshes(turns: SceneTurns, scene: DepthScene, arms: Arms) -> Measures:
    """Agreement of turn 2 with memory where clean tokens are refreshed in every n-th call."""
    first, second, source = views(scene)
    warped, known = warp_by_depth(scene.solids, turns.decode(arms.first), first, second)
    region = known & ~ever_seen(scene.solids, second, source)
    turn = turns.turn(second, [turns.memory(arms.first, first)])
    assert turn.plan is not None, "a turn with memory has a plan"
    measures: Measures = {}
    for count in (1, *REFRESHES):
        kept = replace(turn, plan=replace(turn.plan, reuse=ReuseConfig(count)))
        video = turns.decode(turns.sample(kept, turns.noise(SECOND)))
        measures[f"unseen_mae_refresh_{count}"] = masked_mae(warped, video, region)
    return measures


def sheet_rows(turns: SceneTurns, scene: DepthScene, arms: Arms) -> tuple[SheetRow, ...]:
    """Rows of one scene: source, turn 1, turn 2 with and without memory, and the truth."""
    first, second, source = views(scene)
    _, known = warp_by_depth(scene.solids, first.frames, first, second)
    region = known & ~ever_seen(scene.solids, second, source)
    return (
        SheetRow(f"scene {scene.index}: source", source.frames),
        SheetRow("turn 1, generated", turns.decode(arms.first)),
        SheetRow("turn 2 with memory", turns.decode(arms.second_memory)),
        SheetRow("turn 2 without memory", turns.decode(arms.second_none)),
        SheetRow(
            "turn 2, truth (bright: seen by turn 1, never by the source)", second.frames, region
        ),
    )


def evaluate_depth(
    bundle: Bundle, num_scenes: int, num_detail_scenes: int, num_workers: int = 1
) -> Evaluation:
    """The held-out table of `bundle` over scenes with depth, 0 to `num_scenes` - 1.

    num_detail_scenes: how many of them, from 0 on, also get the arms beyond the main ones.

    Raises: ValueError for fewer than 2 scenes of either.
    """
    if not 2 <= num_detail_scenes <= num_scenes:
        raise ValueError(
            f"detail scenes got {num_detail_scenes}, wanted 2 to {num_scenes}, the number of "
            "scenes; raise one of them"
        )
    started = time.monotonic()
    scenes: list[Measures] = []
    sheet: list[SheetRow] = []
    for measures, rows in mapped(
        DepthWork(bundle, num_detail_scenes), range(num_scenes), num_workers
    ):
        scenes.append(measures)
        sheet += rows
        seconds = time.monotonic() - started
        log.info("%d of %d scenes, %.0f s", len(scenes), num_scenes, seconds)
    claims = depth_claims(SomeMeasured(columns(scenes)))
    return Evaluation(claims, tuple(scenes), tuple(sheet), time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(words)
    num_detail = (
        max(2, options.scenes // 2) if options.detail_scenes is None else options.detail_scenes
    )
    bundle = bundle_of(options)
    evaluation = evaluate_depth(bundle, options.scenes, num_detail, options.workers)
    command = shlex.join(["python", "-m", "memv2v_core.evaluation", "--task", "depth", *words])
    configs = (bundle.info, SolidsConfig(), SolidPathsConfig())
    record = evaluation_record(evaluation, bundle.device, command, configs)
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
        help="how many of them for 1x8x8, three turns and merging; half if not given",
    )
    parser.add_argument("--output", type=Path, default=Path("evaluation_depth.json"))
    add_model_options(parser, "novel_view", "novel_view_depth")
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet PNG of the first scenes"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that share the scenes")
    return parser
