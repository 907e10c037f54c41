"""Means over clips with their intervals, and whether a method differs from the first one.

Turns and seeds of one clip are not independent, so they are averaged first: a clip is one value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from scipy import stats

from ..metrics.metric import Column, Metric
from ..statistics import Estimate, mean_estimate
from .measuring import subjects
from .run import Scores

_NUM_RESAMPLES, _SEED = 9999, 0


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    estimate: None where fewer than two clips have a value; `mean` is of those that have one.
    num_missing: clips without a value. p: that the difference from the first method is chance, by a
    paired permutation test over clips with a value of both; None for the first method and where
    nothing can be tested.
    """

    mean: float
    estimate: Estimate | None
    num_missing: int
    p: float | None


@dataclass(frozen=True)
class TableColumn:
    """A column of a table: a number of a metric, over all turns or of one."""

    metric: str
    column: Column
    subject: str | None

    @property
    def title(self) -> str:
        """The column's name, the turn or pair, and the unit."""
        of = f" {self.subject}" if self.subject else ""
        unit = f" ({self.column.unit})" if self.column.unit else ""
        return f"{self.column.name}{of}{unit}"


@dataclass(frozen=True)
class Summary:
    """A table: for each method a cell a column."""

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def summarised(scores: Scores, metrics: dict[str, Metric]) -> Summary:
    """The table of a suite, in the order of its methods and metrics."""
    suite = scores.suite
    columns = tuple(
        TableColumn(name, column, subject)
        for name, metric in metrics.items()
        for column in metric.columns
        for subject in (*(subjects(metric, suite.turns) if suite.shows_turns else ()), None)
    )
    names = [method.name for method in suite.methods]
    values = {name: [_per_clip(scores, name, column) for column in columns] for name in names}
    first = values[names[0]]
    rows = tuple(
        (
            name,
            tuple(
                _cell(one, None if name == names[0] else other)
                for one, other in zip(values[name], first, strict=True)
            ),
        )
        for name in names
    )
    return Summary(suite.name, columns, rows)


def _per_clip(scores: Scores, method: str, column: TableColumn) -> list[float]:
    """One value a clip, in the order of clips; NaN where none of its turns has one."""
    clips: dict[str, list[float]] = {}
    for (clip, _seed), by_subject in scores.values[method][column.metric].items():
        held = clips.setdefault(clip, [])
        for subject, columns in by_subject.items():
            if column.subject in (None, subject):
                held.append(columns[column.column.name])
    return [_mean([value for value in held if not math.isnan(value)]) for held in clips.values()]


def _cell(values: Sequence[float], first: Sequence[float] | None) -> Cell:
    known = [value for value in values if not math.isnan(value)]
    estimate = None
    if len(known) > 1 and all(map(math.isfinite, known)):
        estimate = mean_estimate(torch.tensor(known, dtype=torch.float64))
    return Cell(
        mean=_mean(known),
        estimate=estimate,
        num_missing=len(values) - len(known),
        p=None if first is None else _p_of(values, first),
    )


def _p_of(values: Sequence[float], first: Sequence[float]) -> float | None:
    """Two-sided p of a paired permutation test of the means; None with fewer than two pairs."""
    pairs = [
        (one, other)
        for one, other in zip(values, first, strict=True)
        if math.isfinite(one) and math.isfinite(other)
    ]
    if len(pairs) < 2:
        return None
    differences = numpy.array([one - other for one, other in pairs])
    if not differences.any():
        return 1.0
    # Signs of differences are exchanged: all ways of few clips, a sample of many.
    result = stats.permutation_test(
        (differences,),
        numpy.mean,
        permutation_type="samples",
        n_resamples=_NUM_RESAMPLES,
        rng=numpy.random.default_rng(_SEED),
    )
    return float(result.pvalue)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
