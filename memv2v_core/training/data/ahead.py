"""Examples that other processes draw ahead of the steps that need them.

Rendering keeps a CPU busy while a GPU trains. What a step draws follows from the seed, the step and
the row, so a run draws the same with and without this.
"""

import multiprocessing
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty
from typing import Any

import torch

from .example import Example, Examples
from .rows import Rows

# Steps that each process draws before it waits.
_STEPS_KEPT = 4
# How often a waiting run looks whether the process that it waits for is alive.
_LOOK_S = 2.0

# The examples, in the process that draws them.
MakeExamples = Callable[[], Examples]
# The structure of a step, and the rows that this run's process draws of it, a few at a time.
PlanStep = Callable[[Examples, int], tuple[Any, list[Rows]]]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One call of `draw`: its example on the CPU, and its generators afterwards.

    seeds: of the generators, by which the call is known again.
    """

    seeds: tuple[int, ...]
    example: Example
    states: tuple[torch.Tensor, ...]


class ExamplesAhead:
    """`Examples` whose training steps are drawn by other processes.

    Held-out draws, and draws that nobody planned, are made here.

    examples: the same examples in this process. make, plan: picklable; see their types.
    first_step: where the run begins or goes on. device: where examples go.
    """

    def __init__(
        self,
        examples: Examples,
        make: MakeExamples,
        plan: PlanStep,
        num_workers: int,
        first_step: int,
        device: torch.device,
    ) -> None:
        self._examples, self._device = examples, device
        self._first, self._count = first_step, num_workers
        # A forked process would share the GPU's state.
        context = multiprocessing.get_context("spawn")
        self._queues = [context.Queue(_STEPS_KEPT) for _ in range(num_workers)]
        self._workers = [
            context.Process(
                target=_draw_steps,
                args=(make, plan, first_step + i, num_workers, queue),
                daemon=True,
            )
            for i, queue in enumerate(self._queues)
        ]
        for worker in self._workers:
            worker.start()
        self._step = first_step - 1
        self._drawn: dict[tuple[int, ...], _Drawn] = {}

    @property
    def has_held_out(self) -> bool:
        return self._examples.has_held_out

    def structure(self, step: int, is_whole: bool, generator: torch.Generator) -> Any:
        return self._examples.structure(step, is_whole, generator)

    def draw(self, structure: Any, rows: Rows, is_held_out: bool = False) -> Example:
        seeds = tuple(generator.initial_seed() for generator in rows)
        if not is_held_out and structure.step > self._step:
            self._take(structure.step)
        drawn = None if is_held_out else self._drawn.pop(seeds, None)
        if drawn is None:
            return self._examples.draw(structure, rows, is_held_out)
        # The noise of the step goes on from where the drawing ended.
        for generator, state in zip(rows, drawn.states, strict=True):
            generator.set_state(state)
        return drawn.example.to(self._device)

    def close(self) -> None:
        """Stop the processes."""
        for worker in self._workers:
            worker.terminate()

    def _take(self, step: int) -> None:
        """Take what was drawn for this step from the process that drew it."""
        self._step = step
        number = (step - self._first) % self._count
        worker, queue = self._workers[number], self._queues[number]
        while True:
            try:
                found = pickle.loads(queue.get(timeout=_LOOK_S))
                break
            except Empty as error:
                if not worker.is_alive():
                    raise ValueError(
                        f"draw_workers: process {number} of {self._count} ended with the exit code "
                        f"{worker.exitcode} before it drew step {step}; its own error stands "
                        "above, or the memory was full: lower draw_workers, or set it to 0"
                    ) from error
        self._drawn = {drawn.seeds: drawn for drawn in found}


def _draw_steps(make: MakeExamples, plan: PlanStep, first: int, stride: int, queue: Any) -> None:
    """Draw every `stride`-th step from `first` on, for ever."""
    # One thread each: the processes share the cores.
    torch.set_num_threads(1)
    examples = make()
    step = first
    while True:
        structure, calls = plan(examples, step)
        drawn = []
        for rows in calls:
            seeds = tuple(generator.initial_seed() for generator in rows)
            example = examples.draw(structure, rows)
            states = tuple(generator.get_state() for generator in rows)
            drawn.append(_Drawn(seeds, example, states))
        # As bytes: tensors in shared memory would need an open file each.
        queue.put(pickle.dumps(drawn, protocol=pickle.HIGHEST_PROTOCOL))
        step += stride
