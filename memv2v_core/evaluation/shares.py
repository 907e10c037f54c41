"""How several processes share the work of a suite."""

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's: every `count`-th item from `rank` on."""

    rank: int = 0
    count: int = 1


WHOLE = Share()


def share_of_process() -> tuple[Share, Callable[[], None]]:
    """This process's share under `accelerate launch` or torchrun, and what waits for the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return WHOLE, lambda: None
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available())
    return Share(state.process_index, state.num_processes), state.wait_for_everyone
