"""The loop that trains memory: one process or many, small models or published bases.

Run it with `accelerate launch -m memv2v_core.training RECIPE`. Every draw follows from the run's
seed, the step and the row's number. So a resumed run goes on exactly, and several processes see
the batch that one process would see.
"""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from .checkpoints import Position, load_checkpoint, newest_checkpoint, save_checkpoint
from .config.run import TrainConfig
from .config.trained import OptimConfig
from .data.example import Examples
from .data.rows import Rows
from .network.module import TrainedModel
from .objective import draw_noising
from .optim.average import Average
from .optim.optimizers import Optimizers, rate_factor
from .optim.precision import computing
from .progress import Shares
from .seeds import seeded
from .watching import Watch

log = logging.getLogger(__name__)
# The end of a run leaves time for this many checkpoints and steps.
_RESERVE = 1.5


@dataclass(eq=False)
class Run:
    """Everything that changes while a run goes on.

    model: as accelerate has wrapped it; `own` is inside. weights: the trained ones, by name.
    """

    accelerator: Accelerator
    model: nn.Module
    own: TrainedModel
    weights: dict[str, nn.Parameter]
    optimizers: Optimizers
    average: Average
    folder: Path
    position: Position

    def save(self, num_kept: int) -> float:
        """Write a checkpoint; the seconds that it took."""
        started = time.monotonic()
        save_checkpoint(
            self.accelerator,
            self.weights,
            self.average,
            self.optimizers,
            self.position,
            self.folder,
            num_kept,
        )
        return time.monotonic() - started

    def resume(self) -> None:
        """Go on from the newest checkpoint, where there is one.

        Raises: ValueError for a process that does not see the first one's checkpoint.
        """
        newest = newest_checkpoint(self.folder)
        # All processes must begin at one step.
        (wanted,) = broadcast_object_list([None if newest is None else newest.name])
        if (None if newest is None else newest.name) != wanted:
            raise ValueError(
                f"process {self.accelerator.process_index} got the checkpoint {newest} in "
                f"{self.folder}, wanted {wanted}; use a run folder that all machines share"
            )
        if newest is None:
            return
        self.position = load_checkpoint(self.weights, self.average, self.optimizers, newest)
        log.info("resumed at step %d, %.0f s", self.position.step, self.position.seconds)


def train(run: Run, config: TrainConfig, examples: Examples, watch: Watch) -> None:
    """Train to the end of `config.optim`'s steps or minutes, then write a checkpoint.

    Raises: ValueError when a loss or a gradient is not finite; the last checkpoint stays.
    """
    optim, keep, position = config.optim, config.keep, run.position
    clock, progress = _Clock(run, optim), watch.progress
    saved_at, saved_step = time.monotonic(), position.step
    while (done := clock.done()) < 1:
        began = time.monotonic()
        loss, shares = _step(run, config, examples, done)
        clock.tick(time.monotonic() - began)
        progress.add(loss, time.monotonic() - began, shares)
        if position.step % keep.log_steps == 0:
            rate = run.optimizers.each[0].param_groups[0]["lr"]
            progress.write(position.step, position.seconds, rate)
        watch.look(run.model, run.average, position.step)
        # All processes save together, so the first one's clock decides.
        minutes = clock.agreed((time.monotonic() - saved_at) / 60)
        is_late = keep.checkpoint_minutes is not None and minutes >= keep.checkpoint_minutes
        if is_late or (keep.checkpoint_steps and position.step % keep.checkpoint_steps == 0):
            clock.saving = run.save(keep.num_checkpoints)
            saved_at, saved_step = time.monotonic(), position.step
    progress.write(position.step, position.seconds, 0.0)
    if position.step != saved_step or newest_checkpoint(run.folder) is None:
        run.save(keep.num_checkpoints)


def _step(
    run: Run, config: TrainConfig, examples: Examples, progress: float
) -> tuple[float, Shares]:
    """One step of all processes: its loss, and the time of its parts."""
    # Step 1: what all rows share. Every process draws the same.
    optim, accelerator, step = config.optim, run.accelerator, run.position.step
    structure, is_whole = structure_of(config, examples, step, progress)
    run.optimizers.set_rates(rate_factor(progress, step, optim))
    run.optimizers.zero_grad()
    # Step 2: this process's rows, a few at a time.
    total, shares = torch.zeros((), device=accelerator.device), Shares()
    place = accelerator.process_index, accelerator.num_processes
    chunks = rows_of(config, step, is_whole, place)
    for i, rows in enumerate(chunks):
        began = time.monotonic()
        example = examples.draw(structure, rows)
        noising = draw_noising(example.target, optim, rows)
        shares.examples += _since(began, accelerator.device)
        began = time.monotonic()
        # Gradients of all but the last chunk stay in this process.
        is_last = i + 1 == len(chunks)
        with nullcontext() if is_last else accelerator.no_sync(run.model):
            loss = run.model(lambda model, e=example, n=noising: model.loss(e, n))
            accelerator.backward(loss / len(chunks))
        total += loss.detach() / len(chunks)
        shares.model += _since(began, accelerator.device)
    # Step 3: one step of the optimisers, if everything is finite.
    mean = accelerator.reduce(total, reduction="mean").item()
    norm = float(accelerator.clip_grad_norm_(list(run.weights.values()), optim.clip))
    if not math.isfinite(mean) or not math.isfinite(norm):
        raise ValueError(
            f"step {step} got a loss of {mean} and a gradient of norm {norm}, wanted finite "
            f"numbers; the last checkpoint is whole: resume it with lower rates, or with precision "
            "fp32"
        )
    began = time.monotonic()
    with computing(optim.precision, accelerator.device):
        run.optimizers.step()
    run.position.step += 1
    run.average.follow(run.position.step)
    shares.model += _since(began, accelerator.device)
    return mean, shares


def structure_of(
    config: TrainConfig, examples: Examples, step: int, progress: float = 0.0
) -> tuple[Any, bool]:
    """What all rows of a step share, and whether it draws whole clips.

    progress: share of the run that is done.
    """
    shared = seeded(config.seed, "structure", step)
    is_whole = torch.rand((), generator=shared).item() < config.optim.whole_share
    is_whole = is_whole or progress >= config.optim.whole_from
    return examples.structure(step, is_whole, shared), is_whole


def rows_of(config: TrainConfig, step: int, is_whole: bool, place: tuple[int, int]) -> list[Rows]:
    """The rows that one process draws in a step, as many at once as fit.

    place: the number of the process, and how many there are.
    """
    optim = config.optim
    chunks = _chunks(optim.rows(is_whole), optim.rows_at_once, *place)
    return [[seeded(config.seed, "row", step, number) for number in numbers] for numbers in chunks]


def _chunks(num_rows: int, at_once: int, number: int, count: int) -> Iterator[tuple[int, ...]]:
    """Numbers of the rows that process `number` of `count` draws, as many at once as fit."""
    assert num_rows % count == 0, "checked when the run starts"
    own = range(number * num_rows // count, (number + 1) * num_rows // count)
    # Equal chunks: the mean of their losses is the mean over rows.
    at_once = min(at_once, len(own))
    while len(own) % at_once:
        at_once -= 1
    for first in range(0, len(own), at_once):
        yield tuple(own[first : first + at_once])


def _since(began: float, device: torch.device) -> float:
    # A GPU works on after a call returns.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - began


class _Clock:
    """How far a run is, by steps or by minutes.

    Time of earlier sessions counts. A run of so many minutes ends early enough to write its last
    checkpoint.
    """

    def __init__(self, run: Run, config: OptimConfig) -> None:
        self._run, self._config = run, config
        self._before, self._began = run.position.seconds, time.monotonic()
        self._longest = 0.0
        self.saving = 0.0
        self.budget = math.inf if config.minutes is None else 60 * config.minutes

    def tick(self, step_seconds: float) -> None:
        """Take in the time of a step."""
        self._longest = max(self._longest, step_seconds)
        self._run.position.seconds = self._before + time.monotonic() - self._began

    def done(self) -> float:
        """Share of the run that is done; 1 and more ends it. The same for all processes."""
        if self._config.steps is not None:
            return self._run.position.step / self._config.steps
        seconds = self._before + time.monotonic() - self._began
        reserve = _RESERVE * self.saving + self._longest
        return self.agreed(seconds / max(self.budget - reserve, 1e-9))

    def agreed(self, value: float) -> float:
        """The value of the first process."""
        accelerator = self._run.accelerator
        if accelerator.num_processes == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=accelerator.device)
        torch.distributed.broadcast(shared, 0)
        return shared.item()
