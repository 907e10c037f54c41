"""Results as Markdown tables, and the machine that they come from."""

import os
import platform
from collections.abc import Sequence


def markdown(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; every column but the first is set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def machine() -> str:
    """The machine beside a number, in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def report(
    title: str,
    head: Sequence[object],
    rows: Sequence[Sequence[object]],
    failures: Sequence[str],
    most: int = 8,
) -> int:
    """Print one table and its failures; the exit code."""
    print(f"\n{title} ({machine()})\n\n{markdown(head, rows)}\n")
    for failure in failures[:most]:
        print(f"FAILED: {failure[:600]}")
    if len(failures) > most:
        print(f"... and {len(failures) - most} more failures")
    return int(bool(failures))
