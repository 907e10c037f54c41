"""Seconds and peak memory of a call on a CUDA card, and seconds on a CPU."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Of one call.

    seconds: median of `num_times` calls after a first one; of the first one where that is 0.
    first_seconds: of the first call, which also plans kernels. peak_bytes: beside what was held
    before the calls; None on a CPU.
    """

    seconds: float
    first_seconds: float
    num_times: int
    peak_bytes: int | None


def measure(
    run: Callable[[], torch.Tensor], device: torch.device, budget_s: float = 3.0, most: int = 3
) -> Timing:
    """The timing of a call, repeated up to `most` times while the budget lasts.

    A call that is not very slow is repeated once in any case.
    """
    on_card = device.type == "cuda"

    def seconds() -> float:
        if on_card:
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        run()
        if on_card:
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    held = 0
    if on_card:
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
    first = seconds()
    times: list[float] = []
    while len(times) < most and sum(times) + first <= (budget_s if times else 4 * budget_s):
        times.append(seconds())
    peak = torch.cuda.max_memory_allocated(device) - held if on_card else None
    return Timing(statistics.median(times or [first]), first, len(times), peak)
