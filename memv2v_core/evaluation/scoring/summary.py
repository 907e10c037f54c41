"""Means over clips with their intervals, and whether a method differs from the first one.

Turns and seeds of one clip are not independent, so they are averaged first: a clip is one value.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
import torch
from scipy import stats

from ..metrics.metric import Column, Metric
from ..statistics import Estimate, mean_estimate
from ..suites.probe_suite import Spread
from ..suites.suite import SHOWS_ALL, Suite
from .measuring import subjects
from .run import Scores

_NUM_RESAMPLES, _SEED = 9999, 0


# A value of one clip, seed, and turn or pair.
Key = tuple[str, int, str]


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    mean: over clips, of the finite values of each. num_clips: that have any. estimate: its
    interval; None with fewer than two clips. deviation: standard deviation over clips; None with
    fewer than two. num_missing, num_infinite: values that do not exist,
    and infinite ones (the PSNR of equal videos), of all `num_values`; they are in no mean.
    p: that the difference from the first method is chance, by a paired permutation test over clips,
    of the values that both have; None for the first method and where nothing can be tested.
    known: the turns or pairs, clips and seeds of the values that are in the mean.
    """

    mean: float
    estimate: Estimate | None
    deviation: float | None
    num_clips: int
    num_values: int
    num_missing: int
    num_infinite: int
    p: float | None
    known: frozenset[Key] = frozenset()

    @property
    def num_left_out(self) -> int:
        """Values that are in no mean."""
        return self.num_missing + self.num_infinite


@dataclass(frozen=True)
class TableColumn:
    """A column of a table: a number of a metric, over all turns or of one."""

    metric: str
    column: Column
    subject: str | None
    is_named_by_metric: bool = False

    @property
    def title(self) -> str:
        """The column's name, the turn or pair, and the unit; the metric where two have one name."""
        metric = f"{self.metric}: " if self.is_named_by_metric else ""
        of = f" {self.subject}" if self.subject else ""
        unit = f" ({self.column.unit})" if self.column.unit else ""
        return f"{metric}{self.column.name}{of}{unit}"


@dataclass(frozen=True)
class Summary:
    """A table: for each method a cell a column.

    spread: how it shows that values differ. of: what a mean is over.
    """

    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    spread: Spread = "interval"
    of: str = "clips"


def summarised(scores: Scores, metrics: Mapping[str, Metric]) -> Summary:
    """The table of a suite, in the order of its methods and metrics."""
    suite = scores.suite
    named = [(name, column) for name, metric in metrics.items() for column in metric.columns]
    titles = [column.name for _, column in named]
    columns = tuple(
        TableColumn(name, column, subject, titles.count(column.name) > 1)
        for name, column in named
        for subject in (*_shown(suite, metrics[name]), None)
    )
    values = {
        method.name: [_values(scores, method.name, column) for column in columns]
        for method in suite.methods
    }
    return summary_of(suite.name, columns, values)


def summary_of(
    title: str,
    columns: tuple[TableColumn, ...],
    values: Mapping[str, Sequence[Mapping[Key, float]]],
    spread: Spread = "interval",
    of: str = "clips",
) -> Summary:
    """The table of these values: by method, one mapping a column."""
    first_name, *_ = values
    rows = tuple(
        (
            name,
            tuple(
                _cell(one, None if name == first_name else other, column.column.is_counted)
                for one, other, column in zip(held, values[first_name], columns, strict=True)
            ),
        )
        for name, held in values.items()
    )
    return Summary(title, columns, rows, spread, of)


def _shown(suite: Suite, metric: Metric) -> list[str]:
    """Turns or pairs that have a column of their own."""
    every = subjects(metric, suite.turns)
    # With one there is nothing beside the mean.
    if len(every) < 2:
        return []
    return every if SHOWS_ALL in suite.shows_turns else [x for x in every if x in suite.shows_turns]


def _values(scores: Scores, method: str, column: TableColumn) -> dict[Key, float]:
    """Every value of a column."""
    return {
        (clip, seed, subject): columns[column.column.name]
        for (clip, seed), by_subject in scores.values[method][column.metric].items()
        for subject, columns in by_subject.items()
        if column.subject in (None, subject)
    }


def _cell(values: Mapping[Key, float], first: Mapping[Key, float] | None, is_counted: bool) -> Cell:
    known = {key: value for key, value in values.items() if math.isfinite(value)}
    clips = list(_by_clip(known).values())
    means = torch.tensor(clips, dtype=torch.float64)
    num_infinite = sum(map(math.isinf, values.values()))
    return Cell(
        mean=_mean(clips, num_infinite),
        estimate=mean_estimate(means) if len(clips) > 1 and not is_counted else None,
        deviation=float(means.std()) if len(clips) > 1 and not is_counted else None,
        num_clips=len(clips),
        num_values=len(values),
        num_missing=sum(map(math.isnan, values.values())),
        num_infinite=num_infinite,
        p=None if first is None or is_counted else _p_of(values, first),
        known=frozenset(known),
    )


def _mean(clips: Sequence[float], num_infinite: int) -> float:
    if clips:
        return sum(clips) / len(clips)
    return math.inf if num_infinite else math.nan


def _by_clip(known: Mapping[Key, float]) -> dict[str, float]:
    """The mean of each clip's values."""
    clips: dict[str, list[float]] = {}
    for (clip, _seed, _subject), value in known.items():
        clips.setdefault(clip, []).append(value)
    return {clip: sum(held) / len(held) for clip, held in clips.items()}


def _p_of(values: Mapping[Key, float], first: Mapping[Key, float]) -> float | None:
    """Two-sided p of a paired permutation test of the means; None with fewer than two clips."""
    # A turn that one of the two lacks says nothing about their difference.
    both = {
        key: value - first[key]
        for key, value in values.items()
        if math.isfinite(value) and math.isfinite(first[key])
    }
    differences = numpy.array(list(_by_clip(both).values()))
    if len(differences) < 2:
        return None
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
