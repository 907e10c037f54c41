"""The results as JSON and as Markdown, written after every row."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .networks import Base
from .rows import ORDERS, Order, Result, Row

_GIB = 2**30


@dataclass(eq=False)
class Table:
    """Everything measured so far, and where it is written.

    facts: card, versions and settings, by name. bases: as they ran. orders: the words for each.
    """

    folder: Path
    facts: dict[str, str]
    bases: dict[str, Base]
    orders: dict[Order, str]
    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Keep a result and write both files again."""
        self.results.append(result)
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = [each.as_json() for each in self.results]
        text = json.dumps({"facts": self.facts, "rows": rows}, indent=1)
        (self.folder / "gpu.json").write_text(text + "\n", encoding="utf-8")
        (self.folder / "gpu.md").write_text(self.markdown() + "\n", encoding="utf-8")

    def markdown(self) -> str:
        """All tables."""
        lines = ["# Full-size networks on one card", ""]
        lines += [f"- {name}: {value}" for name, value in self.facts.items()]
        lines += ["- weights are random, so no figure says anything about pictures"]
        if any(result.row.call == "official" for result in self.results):
            lines += [f"- official code in the column {self.orders['own']!r}: torch's own order"]
        lines += [""]
        for name, base in self.bases.items():
            kinds = dict.fromkeys(r.row.weights for r in self._measured() if r.row.base == name)
            for weights in kinds:
                num_frames, height, width = base.latent
                size = f"latents of {num_frames} x {height} x {width} (frames, height, width)"
                lines += [f"## {base.title}, {weights} weights, {size}", ""]
                lines += [*self._section(name, weights), ""]
        lines += [*self._summary(), ""]
        failed = [result for result in self.results if result.problem]
        if failed:
            lines += ["## Not measured", ""]
            for each in failed:
                row = each.row
                where = f"{self.bases[row.base].title}, {row.weights}, {self.orders[row.order]}"
                lines.append(f"- {row.title} ({where}): {each.problem}")
        return "\n".join(lines).rstrip()

    def _measured(self) -> list[Result]:
        return [result for result in self.results if result.seconds is not None]

    def _section(self, base: str, weights: str) -> list[str]:
        first, second = ORDERS
        lines = [
            f"| one call | {self.orders[first]} | {self.orders[second]} | first call | TFLOP | "
            "peak GiB | estimate | kept GiB | estimate | difference |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        mine = [r for r in self._measured() if (r.row.base, r.row.weights) == (base, weights)]
        for row in dict.fromkeys(replace(result.row, order=first) for result in mine):
            pair = [self.find(replace(row, order=order)) for order in ORDERS]
            shown = next(each for each in pair if each is not None)
            differences = [each.difference for each in pair if each and each.difference is not None]
            cells = [
                row.title,
                *(_seconds(each and each.seconds) for each in pair),
                _seconds(shown.first_seconds),
                _number(shown.flops, 1e12),
                _number(shown.peak_bytes, _GIB),
                _number(shown.estimated_bytes, _GIB),
                _number(shown.kept_bytes, _GIB),
                _number(shown.estimated_kept_bytes, _GIB),
                f"{max(differences):.1e}" if differences else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def _summary(self) -> list[str]:
        """The purpose in numbers: ten memories, beside no memory."""
        lines = []
        for order in ORDERS:
            found = {
                name: self.find(Row("recammaster", call, count, order))
                for name, call, count in (
                    ("none", "refresh", 0),
                    ("official", "official", 0),
                    ("ten", "refresh", 10),
                    ("reuse", "reuse", 10),
                )
            }
            ten, reuse = found["ten"], found["reuse"]
            if ten is None or reuse is None or not ten.seconds or not reuse.seconds:
                continue
            step = (ten.seconds + 3 * reuse.seconds) / 4
            text = f"- {self.orders[order]}: ten memories refreshed in every 4th call, {step:.2f} s"
            for name, words in (("none", "ours"), ("official", "official ReCamMaster")):
                beside = found[name]
                if beside is not None and beside.seconds:
                    share = step / beside.seconds
                    text += f"; {share:.2f} of {words} with a source and no memory"
            lines.append(text)
        return ["## Ten memories", "", *lines] if lines else []

    def find(self, row: Row) -> Result | None:
        """The measured result of a row, if there is one."""
        return next((result for result in self._measured() if result.row == row), None)


def _number(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.3g}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"


def run_rows(
    rows: Sequence[Row],
    measure: Callable[[Row], Result],
    table: Table,
    tell: Callable[[str], None],
) -> None:
    """Measure every row, and write after each."""
    for row in rows:
        result = measure(row)
        table.add(result)
        words = result.problem or f"{result.seconds:.3f} s"
        base, order = table.bases[row.base].title, table.orders[row.order]
        tell(f"{base}, {row.weights}, {order}: {row.title}: {words}")
