"""The tables of several evaluations beside each other, and which row got better.

python -m memv2v_core.evaluation --task compare OLD.json NEW.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Words in the name of a row, or in its bar, that tell which way is better.
_LOWER = (
    "MAE",
    "with over without",
    "another scene as memory: cost",
    "ceiling minus",
    "merged minus",
)
# Rows that are no matter of the model, or have no better side.
_NEITHER = (
    "another scene as memory: gain",
    "refresh every",
    "true view",
    "VideoFOV",
    "overlap lost",
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
    """A table in Markdown: a row a claim, a column a record, and whether the last is better than
    the first.

    Raises: ValueError for records whose rows differ.
    """
    claims = [record["claims"] for record in records]
    rows = [[claim["claim"] for claim in of_record] for of_record in claims]
    for name, found in zip(names, rows, strict=True):
        if found != rows[0]:
            raise ValueError(
                f"{name} got other rows than {names[0]}; compare evaluations of one task"
            )
    lines = [f"| Measure | {' | '.join(names)} | better? |", "|" + "---|" * (len(names) + 2)]
    for of_row in zip(*claims, strict=True):
        cells = [_cell(claim) for claim in of_row]
        lines.append(f"| {of_row[0]['claim']} | {' | '.join(cells)} | {_verdict(of_row)} |")
    return "\n".join(lines) + "\n"


def _cell(claim: dict[str, Any]) -> str:
    value, (low, high) = claim["value"], claim["interval"]
    if value is None:
        return "not measured"
    unit = f" {claim['unit']}" if claim["unit"] else ""
    return f"{value:.4g}{unit} ({low:.4g} to {high:.4g})"


def _verdict(of_row: Sequence[dict[str, Any]]) -> str:
    first, last = of_row[0], of_row[-1]
    name = first["claim"]
    if first["value"] is None or last["value"] is None:
        return ""
    change = last["value"] - first["value"]
    if any(word in name for word in _NEITHER) and "true view as memory" not in name:
        return ""
    if any(word in name for word in _LOWER) and "without minus with" not in name:
        return "yes" if change < 0 else "no"
    if any(word in name for word in _HIGHER):
        return "yes" if change > 0 else "no"
    return ""


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=Path, nargs="+", help="files that evaluations wrote")
    options = parser.parse_args(arguments)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in options.records]
    sys.stdout.write(compared(records, [path.stem for path in options.records]))
