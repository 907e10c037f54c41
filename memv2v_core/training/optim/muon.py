"""Muon: momentum whose matrices are orthogonalised by five Newton-Schulz steps.

This is our own code because torch.optim.Muon computes in bfloat16, which is slow on CPUs without
bfloat16 units. The iteration and its coefficients are Keller Jordan's.
"""

from collections.abc import Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for 2-D parameters only."""

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody has a closure
        for group in self.param_groups:
            # Matrices of one shape are orthogonalised as one batch.
            for shape in {p.shape for p in group["params"]}:
                self._step_shape(
                    [p for p in group["params"] if p.shape == shape and p.grad is not None], group
                )

    def _step_shape(self, parameters: list[torch.Tensor], group: dict) -> None:
        if not parameters:
            return
        updates = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            gradient = parameter.grad
            assert gradient is not None, "parameters without a gradient are left out"
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            # Nesterov: the gradient looks ahead along the momentum.
            updates.append(torch.lerp(gradient, state["momentum"], group["momentum"]))
        directions = orthogonalise(torch.stack(updates))
        # Orthogonal directions have equal size; tall matrices need larger steps.
        scale = max(1.0, parameters[0].shape[0] / parameters[0].shape[1]) ** 0.5
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(direction, alpha=-group["lr"] * scale)


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrices, roughly, of matrices (N, rows, columns)."""
    a, b, c = _COEFFICIENTS
    # Wide matrices have the smaller Gram matrix.
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    # The iteration converges for singular values up to 1, which this norm ensures.
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x
