"""The log of a run: lines on the terminal, `log.jsonl`, and accelerate's trackers."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator

log = logging.getLogger(__name__)
LOG = "log.jsonl"


@dataclass
class Shares:
    """Seconds of the steps since the last line: examples, the model, and everything else."""

    examples: float = 0.0
    model: float = 0.0


@dataclass
class Progress:
    """Collects losses and writes a line every few steps; the main process alone writes.

    total_seconds: length of the run, where it is known. total_steps: its steps, where known.
    """

    accelerator: Accelerator
    folder: Path
    total_steps: int | None
    total_seconds: float | None
    losses: list[float] = field(default_factory=list)
    shares: Shares = field(default_factory=Shares)
    lasted: float = 0.0

    def add(self, loss: float, seconds: float, shares: Shares) -> None:
        """Take in one step."""
        self.losses.append(loss)
        self.lasted += seconds
        self.shares.examples += shares.examples
        self.shares.model += shares.model

    def write(self, step: int, seconds: float, rate: float) -> None:
        """Write the line of `step`, which covers all steps since the last one."""
        if not self.losses:
            return
        count = len(self.losses)
        each = self.lasted / count
        line = {
            "step": step,
            "seconds": round(seconds, 1),
            # Enough digits to compare runs.
            "loss": float(f"{sum(self.losses) / count:.8g}"),
            "rate": float(f"{rate:.4g}"),
            "s_per_step": round(each, 3),
            "examples_share": round(self.shares.examples / max(self.lasted, 1e-9), 3),
            "model_share": round(self.shares.model / max(self.lasted, 1e-9), 3),
        }
        self.record(line)
        left = self._seconds_left(step, seconds, each)
        log.info(
            "step %d%s  loss %.4f  %.2f s a step (examples %.0f %%, model %.0f %%)  %s left",
            step,
            "" if self.total_steps is None else f" of {self.total_steps}",
            line["loss"],
            each,
            100 * line["examples_share"],
            100 * line["model_share"],
            spoken(left),
        )
        self.accelerator.log({key: line[key] for key in ("loss", "rate", "s_per_step")}, step=step)
        self.losses, self.shares, self.lasted = [], Shares(), 0.0

    def record(self, line: Mapping[str, float | int | str]) -> None:
        """Append a line to `log.jsonl`."""
        if self.accelerator.is_main_process:
            with (self.folder / LOG).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _seconds_left(self, step: int, seconds: float, each: float) -> float:
        if self.total_steps is not None:
            return each * (self.total_steps - step)
        return 0.0 if self.total_seconds is None else self.total_seconds - seconds


def spoken(seconds: float) -> str:
    """A time such as 2 h 05 min, 3 min 20 s or 12 s."""
    whole = max(0, math.ceil(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
