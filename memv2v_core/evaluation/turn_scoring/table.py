"""Tables of numbers as text and as a picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...pictures.canvas import FAINT_TEXT, GRID, PANEL, TEXT, Canvas, font, stack_pictures

_TEXT_PX, _ROW_PX, _MARGIN_PX = 14, 24, 10
_COLUMN_GAP_PX = 22
# Of a title, in characters.
_WRAP_AT = 96


@dataclass(frozen=True)
class Table:
    """Words and numbers in rows.

    head: one word a column; the first column names the rows. rows: as long as the head each.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, which also reads well where it is shown as it stands."""
        lines = [self.head, ("---",) * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown_number(value: float, digits: int = 3) -> str:
    """A number for people: "-" where there is none, "equal" where it is infinite."""
    if math.isnan(value):
        return "-"
    return "equal" if math.isinf(value) else f"{value:.{digits}f}"


def json_number(value: float) -> float | None:
    """A number for programs: None where it is not finite, as JSON knows no such numbers."""
    return round(value, 5) if math.isfinite(value) else None


def draw_tables(title: str, tables: Sequence[Table]) -> torch.Tensor:
    """A title above tables, (H, W, 3) in [0, 1]."""
    lines = _wrapped(title)
    canvas = Canvas(_width(lines), _MARGIN_PX + _ROW_PX * len(lines))
    for idx, line in enumerate(lines):
        canvas.text((_MARGIN_PX, _MARGIN_PX / 2 + idx * _ROW_PX), line, TEXT, _TEXT_PX)
    return stack_pictures([canvas.picture(), *(_drawn(table) for table in tables)], gap=8)


def _drawn(table: Table) -> torch.Tensor:
    columns = list(zip(table.head, *table.rows, strict=True))
    widths = [_width(column) - 2 * _MARGIN_PX + _COLUMN_GAP_PX for column in columns]
    width = sum(widths) + 2 * _MARGIN_PX
    canvas = Canvas(width, _ROW_PX * (len(table.rows) + 1))
    for row_idx, row in enumerate((table.head, *table.rows)):
        top = row_idx * _ROW_PX
        if row_idx % 2:
            canvas.box(0, top, width, _ROW_PX, PANEL)
        left = _MARGIN_PX
        for cell, cell_width in zip(row, widths, strict=True):
            canvas.text((left, top + 4), cell, TEXT if row_idx else FAINT_TEXT, _TEXT_PX)
            left += cell_width
    canvas.box(0, _ROW_PX - 1, width, 1, GRID)
    return canvas.picture()


def _width(lines: Sequence[str]) -> int:
    """Pixels that the longest line takes, with a margin on both sides."""
    letters = font(_TEXT_PX)
    return math.ceil(max(letters.getlength(line) for line in lines)) + 2 * _MARGIN_PX


def _wrapped(text: str) -> list[str]:
    """Lines of whole words."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _WRAP_AT:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
