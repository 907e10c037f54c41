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
    """A Markdown table: mean and 95 % interval; the best of each column is bold."""
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
            "clips": 0 if cell.estimate is None else cell.estimate.num_scenes,
            "clips_without_value": cell.num_missing,
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
    if cell.estimate is None:
        return f"{mean}{mark}"
    return f"{mean}{mark} [{_short(cell.estimate.low)}, {_short(cell.estimate.high)}]"


def _short(value: float) -> str:
    if math.isinf(value):
        return "inf"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _best(summary: Summary) -> list[float]:
    """The best mean of each column."""
    best = []
    for idx, column in enumerate(summary.columns):
        means = [cells[idx].mean for _, cells in summary.rows if not math.isnan(cells[idx].mean)]
        choose = max if column.column.is_better_high else min
        best.append(choose(means) if means else math.nan)
    return best


def _arrow(is_better_high: bool, latex: bool = False) -> str:
    if latex:
        return "$\\uparrow$" if is_better_high else "$\\downarrow$"
    return "\N{UPWARDS ARROW}" if is_better_high else "\N{DOWNWARDS ARROW}"


def _notes(summary: Summary) -> str:
    first = summary.rows[0][0]
    missing = sum(cell.num_missing for _, cells in summary.rows for cell in cells)
    lines = [
        "Mean over clips [95 % interval, bootstrap over clips]; turns and seeds of a clip are "
        f"averaged first. \N{DAGGER} differs from {first}: p < {SIGNIFICANT:g}, paired "
        "permutation test.",
    ]
    if missing:
        lines.append(f"{missing} values do not exist and are left out; the JSON counts them.")
    return "\n".join(lines) + "\n"
