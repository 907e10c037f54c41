"""The optimisers of a run, and the rates of their groups."""

from dataclasses import dataclass

import torch
from torch import nn

from ..config.trained import OptimConfig, TrainedConfig
from ..network.parts import part_of, parts_of
from .muon import Muon

# The rate never falls below this share of its height.
_LOWEST = 0.02


@dataclass(frozen=True, eq=False)
class Optimizers:
    """AdamW, and Muon where a part has a rate for it.

    rates: the full rate of every group, in the order of `each`.
    """

    each: tuple[torch.optim.Optimizer, ...]
    rates: tuple[tuple[float, ...], ...]

    def set_rates(self, factor: float) -> None:
        """Set every rate to `factor` times its full value."""
        for optimizer, rates in zip(self.each, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def zero_grad(self) -> None:
        for optimizer in self.each:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        for optimizer in self.each:
            optimizer.step()


def build_optimizers(
    weights: dict[str, nn.Parameter], trained: TrainedConfig, config: OptimConfig
) -> Optimizers:
    """Optimisers for the trained weights, by their names in `TrainedModel`."""
    matrices: dict[float, list[nn.Parameter]] = {}
    others: dict[float, list[nn.Parameter]] = {}
    parts = parts_of(trained)
    for name, parameter in weights.items():
        part = parts[part_of(name)]
        if part.muon_rate is not None and _is_matrix(name, parameter):
            matrices.setdefault(part.muon_rate, []).append(parameter)
        else:
            others.setdefault(part.rate, []).append(parameter)
    made: list[torch.optim.Optimizer] = []
    if others:
        groups = [{"params": found, "lr": rate} for rate, found in others.items()]
        made.append(torch.optim.AdamW(groups, betas=config.betas, weight_decay=config.weight_decay))
    if matrices:
        groups = [{"params": found, "lr": rate} for rate, found in matrices.items()]
        made.append(Muon(groups, weight_decay=config.weight_decay))
    rates = tuple(tuple(group["lr"] for group in each.param_groups) for each in made)
    return Optimizers(tuple(made), rates)


def rate_factor(progress: float, step: int, config: OptimConfig) -> float:
    """Factor of the rates: it rises over the first steps, stays, then falls linearly.

    progress: share of the run that is done. step: from 0.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.cooldown == 0:
        return warm
    return warm * min(1.0, max(_LOWEST, (1 - progress) / config.cooldown))


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    # Camera and ray encoders read a few numbers, so they are no matrices in the sense of Muon.
    is_small = "cam_encoder" in name or "ray_encoder" in name
    return name.startswith("blocks.") and parameter.ndim == 2 and not is_small
