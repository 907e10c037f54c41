"""Measures a built-in model on held-out scenes with depth: a table on the terminal and a JSON file.

    python -m memv2v_core.evaluation --task depth --scenes 64 --output evaluation_depth.json
        [--builtin novel_view_depth] [--sheet sheet.png] [--workers 2]

Scene i is the same for every number of scenes and every model. See `scenes` for the scenes.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ...builtin.bundle import Bundle
from ...pictures.contact_sheet import SheetRow
from ...synthetic.solids.making import SolidsConfig
from ...synthetic.solids.paths import SolidPathsConfig
from ...tokens.reuse import ReuseConfig
from ..measured_model import measured_bundle, recipe_of
from ..metrics.consistency import masked_mae
from ..novel_view.arms import Arms, SceneTurns, sample_arms, sample_detail_arms
from ..novel_view.run import SceneTable, columns, require_detail_scenes, run_command, sheet_rows
from ..novel_view.scenes import SECOND
from ..parallel import mapped
from ..result import Evaluation, Measures
from .claims import REFRESHES, SomeMeasured, depth_claims
from .measures import measure_depth_arms, measure_depth_details
from .obedience import moved_by, obedience_measures
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
    measures |= {
        f"{name}_moves_by": moved_by(view.path)
        for name, view in (("first", scene.first), ("second", scene.second))
    }
    measures |= _obedience(turns, scene, arms)
    candidates = candidate_paths(index, bundle.info)
    measures |= overlap_measures(scene.solids, scene.second.path, candidates)
    # These arms take most of the time, so only some scenes have them.
    if has_details:
        measures |= measure_depth_details(turns, arms, sample_detail_arms(turns, arms))
    if index < NUM_REFRESHED:
        measures |= _refreshes(turns, scene, arms)
    return measures, sheet_rows(turns, arms, scene.region) if is_shown else ()


def _obedience(turns: SceneTurns, scene: DepthScene, arms: Arms) -> Measures:
    clips = {
        "truth": turns.decode(turns.encode(scene.second)),
        "none": turns.decode(arms.second_none),
        "memory": turns.decode(arms.second_memory),
    }
    # Only where the source told what is there does a clip show how its camera moved.
    return obedience_measures(scene.solids, scene.second, clips, scene.seen)


def _refreshes(turns: SceneTurns, scene: DepthScene, arms: Arms) -> Measures:
    """Agreement of turn 2 with memory where clean tokens are refreshed in every n-th call."""
    warped, _ = scene.warped(turns.decode(arms.first))
    turn = turns.turn(scene.second, [turns.memory(arms.first, scene.first)])
    assert turn.plan is not None, "a turn with memory has a plan"
    measures: Measures = {}
    for count in (1, *REFRESHES):
        kept = replace(turn, plan=replace(turn.plan, reuse=ReuseConfig(count)))
        video = turns.decode(turns.sample(kept, turns.noise(SECOND)))
        measures[f"unseen_mae_refresh_{count}"] = masked_mae(warped, video, scene.region)
    return measures


def evaluate_depth(
    bundle: Bundle, num_scenes: int, num_detail_scenes: int, num_workers: int = 1
) -> Evaluation:
    """The held-out table of `bundle` over scenes with depth, 0 to `num_scenes` - 1.

    num_detail_scenes: how many of them, from 0 on, also get the arms beyond the main ones.

    Raises: ValueError for fewer than 2 scenes of either.
    """
    require_detail_scenes(num_detail_scenes, num_scenes)
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
    """The command line, after `--task depth`."""
    run_command(
        SceneTable(
            ("--task", "depth"),
            __doc__ or "",
            "1x8x8, three turns and merging",
            "novel_view_depth",
            Path("evaluation_depth.json"),
            evaluate_depth,
            lambda info: (info, SolidsConfig(), SolidPathsConfig()),
        ),
        arguments,
    )
