"""A summary as a picture: for each column the mean of every method with its interval."""

import math

import torch

from ...pictures.canvas import FAINT_TEXT, GRID, PANEL, SERIES, TEXT, Canvas
from .summary import Cell, Summary

_PANEL_W, _ROW_H, _MARGIN, _LABEL_W = 370, 26, 14, 180
_MOST_LETTERS = 24
_PANELS_A_ROW = 3
_TEXT_PX = 13


def plot(summary: Summary) -> torch.Tensor:
    """The picture (H, W, 3) in 0..1."""
    count = len(summary.columns)
    across = min(count, _PANELS_A_ROW)
    down = -(-count // across)
    panel_h = _ROW_H * (len(summary.rows) + 2) + _MARGIN
    canvas = Canvas(_MARGIN + across * (_PANEL_W + _MARGIN), _MARGIN + down * (panel_h + _MARGIN))
    for idx in range(count):
        left = _MARGIN + idx % across * (_PANEL_W + _MARGIN)
        top = _MARGIN + idx // across * (panel_h + _MARGIN)
        _panel(canvas, summary, idx, left, top, panel_h)
    return canvas.picture()


def _panel(canvas: Canvas, summary: Summary, idx: int, left: int, top: int, height: int) -> None:
    column = summary.columns[idx]
    cells = [cells[idx] for _, cells in summary.rows]
    canvas.box(left, top, _PANEL_W, height, PANEL)
    better = "higher is better" if column.column.is_better_high else "lower is better"
    canvas.text((left + 8, top + 6), f"{column.title}, {better}", TEXT, _TEXT_PX)
    low, high = _range(cells)
    start, end = left + _LABEL_W, left + _PANEL_W - 16

    def place(value: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    bottom = top + _ROW_H * (len(cells) + 1)
    canvas.line([(start, bottom + 4), (end, bottom + 4)], GRID)
    for value, at in ((low, start), (high, end - 40)):
        canvas.text((at, bottom + 6), f"{value:.4g}", FAINT_TEXT, _TEXT_PX - 2)
    for row, (name, cell) in enumerate(zip((name for name, _ in summary.rows), cells, strict=True)):
        middle = top + _ROW_H * (row + 1) + 10
        canvas.text((left + 8, middle - 8), name[:_MOST_LETTERS], FAINT_TEXT, _TEXT_PX)
        colour = SERIES[row % len(SERIES)]
        if not math.isfinite(cell.mean):
            words = "no value" if math.isnan(cell.mean) else "infinite"
            canvas.text((start, middle - 8), words, FAINT_TEXT, _TEXT_PX)
            continue
        if cell.estimate is not None:
            ends = place(cell.estimate.low), place(cell.estimate.high)
            canvas.line([(ends[0], middle), (ends[1], middle)], colour, 2)
        canvas.dot((place(cell.mean), middle), 4, colour)


def _range(cells: list[Cell]) -> tuple[float, float]:
    """From the lowest to the highest value that is drawn, with room at both ends."""
    values = [cell.mean for cell in cells if math.isfinite(cell.mean)]
    for cell in cells:
        if cell.estimate is not None:
            values += [cell.estimate.low, cell.estimate.high]
    if not values:
        return 0.0, 1.0
    room = (max(values) - min(values)) * 0.08 or max(abs(values[0]) * 0.08, 1e-6)
    return min(values) - room, max(values) + room
