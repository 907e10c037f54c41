"""The scores of turns as a report: a plain verdict, tables, and numbers for programs.

Thresholds of the verdict. Two turns agree up to `verdicts.AGREE_AT_MOST` and differ from
`verdicts.DIFFER_FROM` on: 0.06 and 0.1, chosen between 0.039 and 0.147, which the built-in model
reaches with and without memory. DINO-F, CLIP-F, LPIPS and PSNR have no threshold that anybody
measured, so the verdict only puts turns in order by them: it names
the turn with the lowest similarity of neighbouring frames, and no turn where the two lowest are
equal as shown. A faster camera lowers that similarity as flicker does.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..verdicts import AGREE_AT_MOST, Verdict
from .table import Table, draw_tables, json_number, shown_number

NetworkName = Literal["DINO-F", "CLIP-F", "LPIPS"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
# Networks that measure one video. The first one that can decides which turn flickers most.
STEADINESS: tuple[NetworkName, ...] = ("DINO-F", "CLIP-F")
# Columns of the tables: of geometry, and of PSNR with its unit.
DIFFERENCE, PSNR, SHARE = "difference", "PSNR dB", "share of picture"
# How many pairs the verdict names one by one.
_MOST_NAMED = 3
_LEGEND = (
    "Better is higher for DINO-F, CLIP-F and PSNR, lower for LPIPS and difference. difference: of "
    "the colours, 0 to 1, where both look"
)


@dataclass(frozen=True, eq=False)
class TurnScores:
    """What was measured.

    turns, pairs: numbers by the names of their columns, of every video and of every two. NaN where
    a number does not exist.
    verdict: one line. not_measured: metrics and pairs, each with its reason. notes: what was
    assumed. leaves_out_source: whether geometry counted only what the source never showed.
    """

    turns: Mapping[str, Mapping[str, float]]
    pairs: Mapping[str, Mapping[str, float]]
    verdict: str
    not_measured: tuple[str, ...]
    notes: tuple[str, ...]
    leaves_out_source: bool = False

    @property
    def mae(self) -> float:
        """Mean difference over the pairs that geometry measured; NaN without any."""
        values = [row[DIFFERENCE] for row in self.pairs.values() if DIFFERENCE in row]
        return sum(values) / len(values) if values else math.nan

    @property
    def tables(self) -> tuple[Table, ...]:
        """One table of videos and one of pairs; an empty one is left out."""
        named = (("video", _measured(self.turns)), ("pair", _measured(self.pairs)))
        return tuple(_table(first, rows) for first, rows in named if rows)

    @property
    def text(self) -> str:
        """The verdict, both tables, and what was not measured."""
        left_out = [f"- {reason}." for reason in self.not_measured]
        lines = [
            f"{self.verdict}.",
            *(f"\n{table.markdown()}" for table in self.tables),
            f"\n{_LEGEND}{' and the source never looked' if self.leaves_out_source else ''}.",
            *(["\nNot measured:", *left_out] if left_out else []),
            *([""] if self.notes else []),
            *(f"Note: {note}." for note in self.notes),
        ]
        return "\n".join(lines)

    @property
    def numbers(self) -> str:
        """All numbers as JSON; null where a number does not exist or is infinite."""

        def plain(rows: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
            return [
                {"name": name, **{column: json_number(value) for column, value in row.items()}}
                for name, row in _measured(rows).items()
            ]

        content = {
            "verdict": self.verdict,
            "mae": json_number(self.mae),
            "turns": plain(self.turns),
            "pairs": plain(self.pairs),
            "not_measured": list(self.not_measured),
            "notes": list(self.notes),
        }
        return json.dumps(content, indent=1)

    @property
    def picture(self) -> torch.Tensor:
        """The verdict above the tables, (H, W, 3) in [0, 1]."""
        return draw_tables(self.verdict, self.tables)


def agreement(verdicts: Sequence[Verdict]) -> str:
    """What geometry says of all pairs, of many pairs the one that differs most; "" for none."""
    if len(verdicts) <= _MOST_NAMED:
        return "; ".join(verdict.text for verdict in verdicts)
    values = [verdict.disagreement.mae for verdict in verdicts if verdict.disagreement is not None]
    num_agreeing = sum(value <= AGREE_AT_MOST for value in values)
    worst = verdicts[max(range(len(values)), key=values.__getitem__)]
    return f"{num_agreeing} of {len(values)} measured pairs agree; most apart: {worst.text}"


def least_steady(turns: Mapping[str, Mapping[str, float]]) -> str:
    """Which video changes most from frame to frame, by the first network that measured two."""
    for name in STEADINESS:
        column = f"{name} neighbours"
        found = [
            (round(row[column], 3), video)
            for video, row in turns.items()
            if math.isfinite(row.get(column, math.nan))
        ]
        if not found:
            continue
        (lowest, video), *others = sorted(found)
        if not others:
            return f"{video} has {column} {lowest:.3f}, and no other video to compare with"
        second = others[0][0]
        if lowest == second:
            return f"no video flickers more than the others ({name} {lowest:.3f})"
        return f"{video} flickers or moves most ({name} {lowest:.3f}, the others from {second:.3f})"
    return ""


def closest(turns: Mapping[str, Mapping[str, float]]) -> str:
    """Which video is nearest to the truth."""
    found = [(row[PSNR], video) for video, row in turns.items() if PSNR in row]
    if not found:
        return ""
    value, video = max(found)
    if math.isinf(value):
        return f"{video} equals the truth"
    return f"{video} is closest to the truth (PSNR {value:.1f} dB)"


def _measured(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Mapping[str, float]]:
    """The rows that have numbers."""
    return {name: row for name, row in rows.items() if row}


def _table(first: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = tuple(
        (name, *(_cell(column, row.get(column, math.nan)) for column in columns))
        for name, row in rows.items()
    )
    return Table((first, *columns), cells)


def _cell(column: str, value: float) -> str:
    if column == SHARE and math.isfinite(value):
        return "under 1 %" if value < 0.01 else f"{100 * value:.0f} %"
    return shown_number(value, 1 if column.endswith(" dB") else 3)
