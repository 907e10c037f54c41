"""Random numbers of a batch whose rows have one generator each.

A row is therefore the same whether one process draws the whole batch or several draw parts of it.
"""

from collections.abc import Sequence

import torch

Rows = Sequence[torch.Generator]


def row_noise(like: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Noise shaped like `like` (B, ...), on its device and of its type."""
    drawn = [torch.randn(like.shape[1:], generator=generator) for generator in rows]
    return torch.stack(drawn).to(like)


def row_uniform(rows: Rows) -> torch.Tensor:
    """One number (B,) in [0, 1) a row."""
    return torch.stack([torch.rand((), generator=generator) for generator in rows])


def row_normal(rows: Rows) -> torch.Tensor:
    """One number (B,) of a normal distribution a row."""
    return torch.stack([torch.randn((), generator=generator) for generator in rows])


def row_chances(rows: Rows, probability: float) -> torch.Tensor:
    """Whether each row draws true (B,), with this probability."""
    return row_uniform(rows) < probability
