"""A summary as lines: its columns are measured at several numbers, such as of memories."""

import math
from itertools import groupby

import torch

from ...pictures.canvas import FAINT_TEXT, GRID, PANEL, SERIES, TEXT, Canvas
from .summary import Cell, Summary

_PANEL_W, _PANEL_H, _MARGIN = 420, 300, 14
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 66, 16, 34
_TEXT_PX, _DOT_PX, _LINE_PX = 13, 3, 2
_LEGEND_STEP_PX = 136


def has_lines(summary: Summary) -> bool:
    """Whether every column is measured at a number, and some at more than one."""
    subjects = [column.subject for column in summary.columns]
    return len(set(subjects)) > 1 and all(subject and subject.isdigit() for subject in subjects)


def panels_of(summary: Summary) -> list[list[int]]:
    """The places of the columns of each quantity."""
    titles = [column.column.name for column in summary.columns]
    return [
        [idx for idx, _ in group]
        for _, group in groupby(enumerate(titles), key=lambda item: item[1])
    ]


def line_plot(summary: Summary, of: str) -> torch.Tensor:
    """The picture (H, W, 3) in 0..1: a panel a quantity, a line a method.

    of: what the numbers count.
    """
    panels = panels_of(summary)
    width = _MARGIN + len(panels) * (_PANEL_W + _MARGIN)
    canvas = Canvas(width, _PANEL_H + 2 * _MARGIN)
    for number, columns in enumerate(panels):
        _panel(canvas, summary, columns, _MARGIN + number * (_PANEL_W + _MARGIN), of)
    return canvas.picture()


def _panel(canvas: Canvas, summary: Summary, columns: list[int], left: int, of: str) -> None:
    top = _MARGIN
    canvas.box(left, top, _PANEL_W, _PANEL_H, PANEL)
    canvas.text((left + 8, top + 6), summary.columns[columns[0]].column.name, TEXT, _TEXT_PX)
    numbers = [int(summary.columns[idx].subject or 0) for idx in columns]
    highest = max(
        (cells[idx].mean for _, cells in summary.rows for idx in columns if _is_drawn(cells[idx])),
        default=1.0,
    )
    x0, x1 = left + _LEFT, left + _PANEL_W - _RIGHT
    y0, y1 = top + _PANEL_H - _BOTTOM, top + _TOP

    def at(number: float, value: float) -> tuple[float, float]:
        across = (number - min(numbers)) / max(1, max(numbers) - min(numbers))
        return x0 + across * (x1 - x0), y0 + value / (highest or 1.0) * (y1 - y0)

    canvas.line([(x0, y1), (x0, y0), (x1, y0)], GRID)
    for number in numbers:
        canvas.text((at(number, 0)[0] - 4, y0 + 4), str(number), FAINT_TEXT, _TEXT_PX - 2)
    canvas.text((x1 - 70, y0 + 17), of, FAINT_TEXT, _TEXT_PX - 2)
    for value in (highest / 2, highest):
        canvas.text((left + 6, at(0, value)[1] - 7), _short(value), FAINT_TEXT, _TEXT_PX - 2)
    for row, (name, cells) in enumerate(summary.rows):
        colour = SERIES[row % len(SERIES)]
        points = [
            at(number, cells[idx].mean)
            for number, idx in zip(numbers, columns, strict=True)
            if _is_drawn(cells[idx])
        ]
        if len(points) > 1:
            canvas.line(points, colour, _LINE_PX)
        for point in points:
            canvas.dot(point, _DOT_PX, colour)
        place = left + 8 + row * _LEGEND_STEP_PX, top + 28
        canvas.dot((place[0] + 3, place[1] + 8), _DOT_PX, colour)
        canvas.text((place[0] + 12, place[1]), name, FAINT_TEXT, _TEXT_PX - 2)


def _is_drawn(cell: Cell) -> bool:
    return math.isfinite(cell.mean)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
