"""Scores a suite: every metric on every clip of every method, each measured once."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..metrics.metric import Metric, Need
from ..progress import told
from ..shares import WHOLE, Share
from ..suites.suite import Suite
from .measuring import SceneOf, fingerprint, measure
from .store import Store, UnitKey, Values
from .videos import ClipVideos

log = logging.getLogger(__name__)

STORE = "values"
_PARTS: dict[Need, str] = {
    "truth": "truths",
    "camera": "cameras",
    "source_camera": "cameras",
    "scene": "families",
}


@dataclass(frozen=True, eq=False)
class Scores:
    """Every value of a suite: by method, metric, and clip with seed."""

    suite: Suite
    values: Mapping[str, Mapping[str, Mapping[tuple[str, int], Values]]]


def require_inputs(suite: Suite, metrics: Mapping[str, Metric], has_scenes: bool = False) -> None:
    """Raise ValueError naming what a metric needs and the suite does not have.

    has_scenes: whether the scenes of its clips are known.
    """
    for name, metric in metrics.items():
        has = {
            "truth": suite.truths is not None,
            "camera": suite.cameras is not None,
            "source_camera": suite.cameras is not None,
            "scene": has_scenes,
            # Whether times are there is known when videos are.
            "time": True,
        }
        for need in sorted(metric.needs):
            if not has[need]:
                part = _PARTS[need]
                raise ValueError(
                    f"the metric {name} needs {part}, and the suite has none; add {part} to the "
                    "suite, or leave the metric out"
                )
        if metric.subject == "pair" and len(suite.turns) < 2:
            raise ValueError(
                f"the metric {name} compares two turns, and the suite has {len(suite.turns)}; "
                "name more turns, or leave the metric out"
            )


def measure_share(
    suite: Suite,
    metrics: Mapping[str, Metric],
    found: Sequence[ClipVideos],
    folder: Path,
    device: torch.device,
    share: Share = WHOLE,
    scene_of: SceneOf | None = None,
) -> None:
    """Measure what is not measured yet, as far as it is this process's share.

    Raises: ValueError naming what a metric cannot measure; what was measured stays.
    """
    store = Store(folder / STORE)
    for name, metric in metrics.items():
        # By place in the whole list: what others finish meanwhile must not move the shares.
        mine = [
            (UnitKey(one.method, name, one.clip, one.seed, fingerprint(metric, one, suite)), one)
            for one in found[share.rank :: share.count]
        ]
        to_do = [(key, videos) for key, videos in mine if store.read(key) is None]
        log.info("%s: %d of %d clips are measured already", name, len(mine) - len(to_do), len(mine))
        for key, videos in told(to_do, log, name):
            store.write(key, measure(metric, videos, suite, device, scene_of))


def read_scores(
    suite: Suite, metrics: Mapping[str, Metric], found: Sequence[ClipVideos], folder: Path
) -> Scores:
    """Everything that was measured, by all processes.

    Raises: ValueError naming what is not measured yet.
    """
    store = Store(folder / STORE)
    values: dict[str, dict[str, dict[tuple[str, int], Values]]] = {}
    for name, metric in metrics.items():
        for one in found:
            key = UnitKey(one.method, name, one.clip, one.seed, fingerprint(metric, one, suite))
            held = store.read(key)
            if held is None:
                raise ValueError(
                    f"{name} of {one.method}, clip {one.clip!r} is not measured; run the command "
                    "again"
                )
            by_metric = values.setdefault(one.method, {}).setdefault(name, {})
            by_metric[one.clip, one.seed] = held
    return Scores(suite, values)
