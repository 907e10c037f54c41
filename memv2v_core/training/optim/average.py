"""The exponential average of the trained weights."""

import torch
from torch import nn


class Average:
    """The average of `weights`, which follows them step by step.

    decay: 0 makes none: the average is the weights themselves.
    """

    def __init__(self, weights: dict[str, nn.Parameter], decay: float) -> None:
        self._weights, self._decay = weights, decay
        self.values: dict[str, torch.Tensor] = {}
        if decay > 0:
            self.values = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the weights after `step`, faster early on, to forget the start."""
        if not self.values:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self.values[name].lerp_(weight.detach(), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average and the weights; a second call puts both back."""
        for name, value in self.values.items():
            weight = self._weights[name]
            kept = weight.detach().clone()
            weight.copy_(value)
            value.copy_(kept)
