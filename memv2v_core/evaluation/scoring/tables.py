"""A summary as Markdown, as LaTeX, and as values for programs."""

import math
from typing import Any, Literal

from ..report import json_number
from ..suites.probe_suite import Spread
from .line_plots import has_lines, panels_of
from .summary import Cell, Summary, TableColumn

Kind = Literal["markdown", "latex"]

SIGNIFICANT = 0.05
# A dagger, as papers mark it.
_MARK: dict[Kind, str] = {"markdown": "\N{DAGGER}", "latex": "$^\\dagger$"}
_PLUS_MINUS: dict[Kind, str] = {"markdown": "\N{PLUS-MINUS SIGN}", "latex": "$\\pm$"}
# Digits behind the point, of numbers from some size on; more say nothing.
_DIGITS = ((1000, 0), (10, 2))
_LATEX_WORDS = str.maketrans(
    {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
)


def markdown(summary: Summary) -> str:
    """A Markdown table: mean and 95 % interval, or the standard deviation.

    The best of a column is bold where all methods have values of the same turns and pairs.
    """
    head, lines = _grid(summary, "markdown")
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + "\n" + _notes(summary)


def latex(summary: Summary) -> str:
    """The same as a `tabular` for the package booktabs."""
    head, lines = _grid(summary, "latex")
    return "\n".join(
        [
            f"% {summary.title}",
            f"\\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}",
            "\\toprule",
            " & ".join(head) + " \\\\",
            "\\midrule",
            *(" & ".join(line) + " \\\\" for line in lines),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _grid(summary: Summary, kind: Kind) -> tuple[list[str], list[list[str]]]:
    """The words of a head, and of a line a method.

    Where columns are measured at several numbers, each quantity and method has a line and each
    number a column: so many columns fit no page.
    """
    best = _best(summary)
    shown = [
        [
            _bold(_words(cell, kind, summary.spread), kind, cell.mean == best[idx])
            for idx, cell in enumerate(cells)
        ]
        for _, cells in summary.rows
    ]
    names = [_safe(name, kind) for name, _ in summary.rows]
    if not has_lines(summary):
        titles = [f"{_safe(one.title, kind)} {_arrow(one, kind)}" for one in summary.columns]
        rows = zip(names, shown, strict=True)
        return ["Method", *titles], [[name, *cells] for name, cells in rows]
    panels = panels_of(summary)
    numbers = [summary.columns[idx].subject or "" for idx in panels[0]]
    lines = []
    for panel in panels:
        column = summary.columns[panel[0]]
        title = f"{_safe(column.column.name, kind)} {_arrow(column, kind)}"
        for name, cells in zip(names, shown, strict=True):
            lines.append([f"{title} {name}", *(cells[idx] for idx in panel)])
    return ["", *numbers], lines


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
            "deviation": None if cell.deviation is None else json_number(cell.deviation),
            summary.of: cell.num_clips,
            "values": cell.num_values,
            "values_missing": cell.num_missing,
            "values_infinite": cell.num_infinite,
            "p_against_first": cell.p,
        }
        for name, cells in summary.rows
        for column, cell in zip(summary.columns, cells, strict=True)
    ]


def _words(cell: Cell, kind: Kind, spread: Spread) -> str:
    if math.isnan(cell.mean):
        return "no value"
    mean = _short(cell.mean)
    mark = _MARK[kind] if cell.p is not None and cell.p < SIGNIFICANT else ""
    interval = ""
    if spread == "deviation" and cell.deviation is not None:
        interval = f" {_PLUS_MINUS[kind]} {_short(cell.deviation)}"
    # What is counted is equal in every repeat.
    elif spread == "interval" and cell.estimate is not None and cell.deviation:
        interval = f" [{_short(cell.estimate.low)}, {_short(cell.estimate.high)}]"
    count = f" ({cell.num_values - cell.num_left_out} of {cell.num_values})"
    return f"{mean}{mark}{interval}{count if cell.num_left_out else ''}"


def _short(value: float) -> str:
    if math.isinf(value):
        return "inf"
    digits = next((digits for above, digits in _DIGITS if abs(value) >= above), 4)
    return f"{value:.{digits}f}"


def _best(summary: Summary) -> list[float]:
    """The best mean of each column; NaN where methods are measured on different values."""
    best = []
    for idx, column in enumerate(summary.columns):
        cells = [cells[idx] for _, cells in summary.rows]
        means = [cell.mean for cell in cells if not math.isnan(cell.mean)]
        choose = max if column.column.is_better_high else min
        is_fair = len({cell.known for cell in cells}) == 1 and len(set(means)) > 1
        best.append(choose(means) if means and is_fair else math.nan)
    return best


def _arrow(column: TableColumn, kind: Kind) -> str:
    is_high = column.column.is_better_high
    if kind == "latex":
        return "$\\uparrow$" if is_high else "$\\downarrow$"
    return "\N{UPWARDS ARROW}" if is_high else "\N{DOWNWARDS ARROW}"


def _safe(words: str, kind: Kind) -> str:
    return words.translate(_LATEX_WORDS) if kind == "latex" else words.replace("|", "\\|")


def _bold(words: str, kind: Kind, is_best: bool) -> str:
    if not is_best:
        return words
    return f"\\textbf{{{words}}}" if kind == "latex" else f"**{words}**"


def _notes(summary: Summary) -> str:
    first = summary.rows[0][0]
    cells = [cell for _, cells in summary.rows for cell in cells]
    lines = []
    of = summary.of
    if any(cell.estimate is not None for cell in cells):
        shown = "with the standard deviation"
        if summary.spread == "interval":
            shown = f"[95 % interval, bootstrap over {of}]"
        averaged = "; turns and seeds of a clip are averaged first" if of == "clips" else ""
        lines.append(f"Mean over {of} {shown}{averaged}.")
    if any(cell.p is not None and cell.p < SIGNIFICANT for cell in cells):
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
