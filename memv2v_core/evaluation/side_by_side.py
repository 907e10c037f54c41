"""The tables of several evaluations beside each other, their bars, and which row got better.

A row is better or worse where neither value lies inside the other's interval.

python -m memv2v_core.evaluation --task compare OLD.json NEW.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .report import bar_in_words

# Words in the name of a row, or in its bar, that tell which way is better.
_LOWER = (
    "MAE",
    "with over without",
    "another scene as memory: cost",
    "distance from 1",
    "ceiling minus",
    "merged minus",
)
# Rows that are no matter of the model, or have no better side.
_NEITHER = (
    "another scene as memory: gain",
    "refresh every",
    "true view",
    "share of",
    "VideoFOV",
)
_HIGHER = (
    "without minus with",
    "gain to truth",
    "PSNR",
    "gradient",
    "overlap",
    "pearson",
    "spearman",
)


def compared(records: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """A table in Markdown: a row a claim, its bar, a column a record, and whether the last is
    better than the first. A value that misses its bar is marked.

    Raises: ValueError for records whose rows differ.
    """
    claims = [record["claims"] for record in records]
    rows = [[claim["claim"] for claim in of_record] for of_record in claims]
    for name, found in zip(names, rows, strict=True):
        if found != rows[0]:
            raise ValueError(
                f"{name} got other rows than {names[0]}; compare evaluations of one task, made by "
                "one version"
            )
    heads = [
        f"{name}, {record['num_scenes']} scenes"
        for name, record in zip(names, records, strict=True)
    ]
    lines = [
        f"| Measure | Asked | {' | '.join(heads)} | better? |",
        "|" + "---|" * (len(names) + 3),
    ]
    for of_row in zip(*claims, strict=True):
        cells = [
            _cell(claim, record["num_scenes"])
            for claim, record in zip(of_row, records, strict=True)
        ]
        bar = bar_in_words(of_row[0]["bar"]).replace("reported", "")
        row = (of_row[0]["claim"], bar, *cells, _verdict(of_row))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _cell(claim: dict[str, Any], num_scenes: int) -> str:
    value, (low, high) = claim["value"], claim["interval"]
    if value is None:
        return "not measured"
    unit = f" {claim['unit']}" if claim["unit"] else ""
    few = "" if claim["num_scenes"] == num_scenes else f", {claim['num_scenes']} scenes"
    missed = ", **missed**" if claim["passed"] is False else ""
    return f"{value:.4g}{unit} ({low:.4g} to {high:.4g}{few}){missed}"


def _verdict(of_row: Sequence[dict[str, Any]]) -> str:
    first, last = of_row[0], of_row[-1]
    name = first["claim"]
    if first["value"] is None or last["value"] is None:
        return ""
    if any(word in name for word in _NEITHER) and "true view as memory" not in name:
        return ""
    is_low = any(word in name for word in _LOWER) and "without minus with" not in name
    if not is_low and not any(word in name for word in _HIGHER):
        return ""
    if _holds(first, last["value"]) or _holds(last, first["value"]):
        return "even"
    return "yes" if (last["value"] < first["value"]) == is_low else "no"


def _holds(claim: dict[str, Any], value: float) -> bool:
    low, high = claim["interval"]
    return bool(low <= value <= high)


def read_record(path: Path) -> dict[str, Any]:
    """The file that an evaluation wrote.

    Raises: ValueError naming a file that is missing or no record.
    """
    remedy = "wanted a file that an evaluation's --output wrote"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}), {remedy}") from error
    if not isinstance(record, dict) or not {"claims", "num_scenes"} <= set(record):
        raise ValueError(f"{path} has no claims, {remedy}")
    return record


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", help="files that evaluations wrote")
    options = parser.parse_args(arguments)
    records = [read_record(path) for path in options.records]
    sys.stdout.write(compared(records, [path.stem for path in options.records]))
