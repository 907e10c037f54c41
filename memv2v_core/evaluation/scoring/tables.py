"""A summary as Markdown, as LaTeX, and as values for programs."""

import math
from typing import Any

from ..report import json_number
from .summary import Cell, Summary

SIGNIFICANT = 0.05
# A dagger, as papers mark it.
_MARK = {"markdown": "\N{DAGGER}", "latex": "$^\\dagger$"}
_LATEX_WORDS = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
)


def markdown(summary: Summary) -> str:
    """A Markdown table: mean and 95 % interval.

    The best of a column is bold where all methods have values of the same turns and pairs.
    """
    head = [
        "Method",
        *(f"{column.title} {_arrow(column.column.is_better_high)}" for column in summary.columns),
    ]
    best = _best(summary)
    lines = [head, ["---"] * len(head)]
    for name, cells in summary.rows:
        shown = [
            f"**{_words(cell, 'markdown')}**"
            if cell.mean == best[idx]
            else _words(cell, "markdown")
            for idx, cell in enumerate(cells)
        ]
        lines.append([name.replace("|", "\\|"), *shown])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n" + _notes(summary)


def latex(summary: Summary) -> str:
    """The same as a `tabular` for the package booktabs."""
    best = _best(summary)
    head = [
        f"{column.title.translate(_LATEX_WORDS)} {_arrow(column.column.is_better_high, latex=True)}"
        for column in summary.columns
    ]
    lines = [
        f"% {summary.title}",
        f"\\begin{{tabular}}{{l{'c' * len(head)}}}",
        "\\toprule",
        f"Method & {' & '.join(head)} \\\\",
        "\\midrule",
    ]
    for name, cells in summary.rows:
        shown = []
        for idx, cell in enumerate(cells):
            words = _words(cell, "latex")
            shown.append(f"\\textbf{{{words}}}" if cell.mean == best[idx] else words)
        lines.append(f"{name.translate(_LATEX_WORDS)} & {' & '.join(shown)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def record(summary: Summary) -> list[dict[str, Any]]:
    """One dict a method and column, with plain JSON values."""
    return [
        {
            "method": name,
            "metric": column.metric,
            "column": column.column.name,
            "of": column.subject or "all",
            "unit": column.column.unit,
            "mean": json_number(cell.mean),
            "interval": None
            if cell.estimate is None
            else [json_number(cell.estimate.low), json_number(cell.estimate.high)],
            "clips": cell.num_clips,
            "values": cell.num_values,
            "values_missing": cell.num_missing,
            "values_infinite": cell.num_infinite,
            "p_against_first": cell.p,
        }
        for name, cells in summary.rows
        for column, cell in zip(summary.columns, cells, strict=True)
    ]


def _words(cell: Cell, kind: str) -> str:
    if math.isnan(cell.mean):
        return "no value"
    mean = _short(cell.mean)
    mark = _MARK[kind] if cell.p is not None and cell.p < SIGNIFICANT else ""
    interval = ""
    if cell.estimate is not None:
        interval = f" [{_short(cell.estimate.low)}, {_short(cell.estimate.high)}]"
    count = f" ({cell.num_values - cell.num_left_out} of {cell.num_values})"
    return f"{mean}{mark}{interval}{count if cell.num_left_out else ''}"


def _short(value: float) -> str:
    if math.isinf(value):
        return "inf"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _best(summary: Summary) -> list[float]:
    """The best mean of each column; NaN where methods are measured on different values."""
    best = []
    for idx, column in enumerate(summary.columns):
        cells = [cells[idx] for _, cells in summary.rows]
        means = [cell.mean for cell in cells if not math.isnan(cell.mean)]
        choose = max if column.column.is_better_high else min
        is_fair = len({cell.num_left_out for cell in cells}) == 1
        best.append(choose(means) if means and is_fair else math.nan)
    return best


def _arrow(is_better_high: bool, latex: bool = False) -> str:
    if latex:
        return "$\\uparrow$" if is_better_high else "$\\downarrow$"
    return "\N{UPWARDS ARROW}" if is_better_high else "\N{DOWNWARDS ARROW}"


def _notes(summary: Summary) -> str:
    first = summary.rows[0][0]
    cells = [cell for _, cells in summary.rows for cell in cells]
    lines = []
    if any(cell.estimate is not None for cell in cells):
        lines.append(
            "Mean over clips [95 % interval, bootstrap over clips]; turns and seeds of a clip are "
            "averaged first."
        )
    if any(cell.p is not None for cell in cells):
        lines.append(
            f"\N{DAGGER} differs from {first}: p < {SIGNIFICANT:g}, paired permutation test over "
            "the values that both have."
        )
    if any(cell.num_left_out for cell in cells):
        lines.append(
            "(n of N): the others do not exist, or are infinite because videos are equal; they are "
            "in no mean. Nothing is bold where methods have values of different turns."
        )
    return " ".join(lines) + "\n"
