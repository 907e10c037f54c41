"""Checkpoints of a run: everything that a resumed run needs to go on as if nothing had happened.

    RUN/checkpoints/step-00001200/
        weights.safetensors     the trained weights, by their names in `TrainedModel`
        average.safetensors     their average, where the run keeps one
        optimizer.pt            the state of the optimisers
        state.json              step and seconds

No random state is stored: every draw follows from the run's seed and the step.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn
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
    optimizer = _states_of(optimizers, weights)
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
        # A power cut after the rename must not find empty files.
        for path in temp.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        sync_folder(temp)
        shutil.rmtree(place, ignore_errors=True)
        temp.rename(place)
        sync_folder(place.parent)
        for old in sorted(place.parent.glob("step-*"))[:-num_kept]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()


def load_checkpoint(
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
    if (checkpoint / OPTIMIZER).exists():
        states = torch.load(checkpoint / OPTIMIZER, weights_only=True, map_location="cpu")
        _put_states(optimizers, weights, states, checkpoint)
    return read_position(checkpoint)


def _states_of(
    optimizers: Optimizers, weights: dict[str, nn.Parameter]
) -> list[dict[str, dict[str, Any]]]:
    """The state of every optimiser, by the names of weights.

    A weight that has had no gradient yet has none. Rates and the like follow from the recipe.
    """
    names = {id(weight): name for name, weight in weights.items()}
    found = []
    for each in optimizers.each:
        state = {}
        for weight in (weight for group in each.param_groups for weight in group["params"]):
            values = each.state.get(weight, {})
            if values:
                state[names[id(weight)]] = {key: _whole(value) for key, value in values.items()}
        found.append({"state": state})
    return found


def _put_states(
    optimizers: Optimizers,
    weights: dict[str, nn.Parameter],
    found: list[dict[str, dict[str, Any]]],
    where: Path,
) -> None:
    if len(found) != len(optimizers.each):
        raise ValueError(
            f"{where} got {len(found)} optimisers, wanted {len(optimizers.each)} of this recipe: "
            "it trains with Muon where the run did not, or the other way round; keep muon_rate, or "
            "take another run folder"
        )
    names = {id(weight): name for name, weight in weights.items()}
    for each, stored in zip(optimizers.each, found, strict=True):
        for weight in (weight for group in each.param_groups for weight in group["params"]):
            for key, value in stored["state"].get(names[id(weight)], {}).items():
                place = torch.empty_like(weight) if value.shape == weight.shape else value.clone()
                _put(place, value)
                each.state[weight][key] = place


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
