"""Results as a table for people and as JSON for programs."""

import dataclasses
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .claims import Claim

_CPU_INFO = Path("/proc/cpuinfo")
_VERDICTS = {True: "pass", False: "FAIL", None: ""}


def table(claims: Sequence[Claim]) -> str:
    """One line per claim: name, bar, value, 95 % interval, number of scenes, verdict."""
    header = ("claim", "bar", "value", "95 % interval", "scenes", "")
    lines = [header, *(_cells(claim) for claim in claims)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rendered = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    return "\n".join(
        line.rstrip() for line in [rendered[0], "-" * len(rendered[0].rstrip()), *rendered[1:]]
    )


def markdown_table(claims: Sequence[Claim]) -> str:
    """The same table in Markdown, for the documentation."""
    verdicts = {True: "reached", False: "**not reached**", None: ""}
    rows = [("Measure", "Bar", "Value", "95 % interval", "Clips", ""), ("---",) * 6]
    for claim in claims:
        name, bar, value, interval, count, _ = _cells(claim)
        rows.append(
            (
                name,
                bar_in_words(bar),
                value,
                interval.replace("..", "to"),
                count,
                verdicts[claim.passed],
            )
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def bar_in_words(bar: str) -> str:
    """A claim's bar without signs, for readers of the documentation."""
    return bar.replace(">=", "at least").replace("<=", "at most")


def require_places(*paths: Path | None) -> None:
    """Before hours of measuring: raise ValueError for a file whose folder does not exist."""
    for path in filter(None, paths):
        if not path.resolve().parent.is_dir():
            raise ValueError(f"{path} stands in no folder; make {path.parent}, or name another")


def claim_record(claim: Claim) -> dict[str, Any]:
    """A claim as JSON values, with its interval as a pair.

    Numbers that are not finite become None.
    """
    estimate = claim.estimate
    return {
        "claim": claim.name,
        "bar": claim.bar,
        "unit": claim.unit,
        "value": json_number(estimate.value),
        "interval": [json_number(estimate.low), json_number(estimate.high)],
        "num_scenes": estimate.num_scenes,
        "passed": claim.passed,
    }


def json_number(value: float) -> float | None:
    """`value` with six digits, or None where JSON has no such number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def machine(device: torch.device) -> dict[str, Any]:
    """The machine that the numbers come from."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "cpu": _cpu_name(),
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "accelerator": accelerator,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def settings_record(*configs: Any) -> dict[str, Any]:
    """The fields of frozen configs in one dict, under the name of each config."""
    return {type(config).__name__: dataclasses.asdict(config) for config in configs}


def _cells(claim: Claim) -> tuple[str, ...]:
    estimate = claim.estimate
    interval = f"{_short(estimate.low)} .. {_short(estimate.high)}"
    value = f"{_short(estimate.value)} {claim.unit}".strip()
    return claim.name, claim.bar, value, interval, str(estimate.num_scenes), _VERDICTS[claim.passed]


def _short(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "without limit"
    # Large numbers need no four decimals.
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def _cpu_name() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
