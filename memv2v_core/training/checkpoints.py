"""Checkpoints of a run: everything that a resumed run needs to go on as if nothing had happened.

    RUN/checkpoints/step-00001200/
        weights.safetensors     the trained weights, by their names in `TrainedModel`
        average.safetensors     their average, where the run keeps one
        optimizer.pt            the state of the optimisers
        state.json              step and seconds

No random state is stored: every draw follows from the run's seed and the step.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor, distribute_tensor

from ..atomic_files import sync_folder
from .optim.average import Average
from .optim.optimizers import Optimizers

CHECKPOINTS = "checkpoints"
WEIGHTS, AVERAGE, OPTIMIZER, STATE = (
    "weights.safetensors",
    "average.safetensors",
    "optimizer.pt",
    "state.json",
)
_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


@dataclass
class Position:
    """How far a run is: steps done, and seconds of training in all its sessions."""

    step: int = 0
    seconds: float = 0.0


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of the run in `folder`, if any."""
    found = sorted((folder / CHECKPOINTS).glob("step-*"))
    # An interrupted write has another name, so each of these is whole.
    return found[-1] if found else None


def read_position(checkpoint: Path) -> Position:
    """The position that a checkpoint was written at."""
    return Position(**json.loads((checkpoint / STATE).read_text(encoding="utf-8")))


def best_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The weights to use of a checkpoint: the average where there is one."""
    average = checkpoint / AVERAGE
    return load_file(average if average.exists() else checkpoint / WEIGHTS)


def save_checkpoint(
    accelerator: Accelerator,
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    average: Average,
    optimizers: Optimizers,
    position: Position,
    folder: Path,
    num_kept: int,
) -> None:
    """Write a checkpoint; all processes call this together. Older ones than `num_kept` go.

    The folder is written under another name and renamed when it is whole.
    """
    states = {
        WEIGHTS: {name: _whole(weight.detach()) for name, weight in weights.items()},
        AVERAGE: {name: _whole(value) for name, value in average.values.items()},
    }
    optimizer = [get_optimizer_state_dict(model, each, options=_WHOLE) for each in optimizers.each]
    if accelerator.is_main_process:
        place = folder / CHECKPOINTS / f"step-{position.step:08d}"
        temp = place.with_name(f"writing-{place.name}")
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        for name, state in states.items():
            if state:
                save_file({key: value.contiguous() for key, value in state.items()}, temp / name)
        torch.save(optimizer, temp / OPTIMIZER)
        reached = {"step": position.step, "seconds": position.seconds}
        (temp / STATE).write_text(json.dumps(reached), encoding="utf-8")
        sync_folder(temp)
        shutil.rmtree(place, ignore_errors=True)
        temp.rename(place)
        sync_folder(place.parent)
        for old in sorted(place.parent.glob("step-*"))[:-num_kept]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(
    accelerator: Accelerator,
    model: nn.Module,
    weights: dict[str, nn.Parameter],
    average: Average,
    optimizers: Optimizers,
    checkpoint: Path,
) -> Position:
    """Put the state of a checkpoint back; all processes call this together.

    Raises: ValueError for a checkpoint of other weights than this run trains.
    """
    found = load_file(checkpoint / WEIGHTS)
    put_weights(weights, found, checkpoint)
    if average.values:
        stored = checkpoint / AVERAGE
        for name, value in (load_file(stored) if stored.exists() else found).items():
            _put(average.values[name], value)
    # A checkpoint that another model gave has no optimisers: they begin.
    if not (checkpoint / OPTIMIZER).exists():
        return read_position(checkpoint)
    states: list[Any] = [{} for _ in optimizers.each]
    if accelerator.is_main_process or not dist.is_initialized():
        states = torch.load(checkpoint / OPTIMIZER, weights_only=True, map_location="cpu")
    options = _FROM_FIRST if dist.is_initialized() else _WHOLE
    for each, state in zip(optimizers.each, states, strict=True):
        set_optimizer_state_dict(model, each, state, options=options)
    return read_position(checkpoint)


def put_weights(
    weights: dict[str, nn.Parameter], found: dict[str, torch.Tensor], where: Path
) -> None:
    """Copy stored weights into the trained ones.

    Raises: ValueError naming a weight that one of the two lacks or that has another size.
    """
    for name in sorted(weights.keys() | found.keys()):
        sizes = [tuple(each[name].shape) if name in each else None for each in (found, weights)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"{where} got {name} of size {sizes[0]}, wanted {sizes[1]} of this recipe; resume "
                "with the recipe that began the run, or take another run folder"
            )
    for name, value in found.items():
        _put(weights[name], value)


@torch.no_grad()
def _put(place: torch.Tensor, value: torch.Tensor) -> None:
    if isinstance(place, DTensor):
        mesh, placements = place.device_mesh, place.placements
        place.copy_(distribute_tensor(value.to(place.device, place.dtype), mesh, placements))
    else:
        place.copy_(value)


def _whole(value: torch.Tensor) -> torch.Tensor:
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.to("cpu").clone()
