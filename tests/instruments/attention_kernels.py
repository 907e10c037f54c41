"""Attention overrides of the pack for a CPU."""

from types import ModuleType
from typing import Any

import torch
from torch.nn.attention import SDPBackend


def on_cpu(
    kernels: ModuleType,
    backend: SDPBackend = SDPBackend.MATH,
    kind: type | None = None,
    **changes: Any,
) -> Any:
    """An override for fp32, heads of 128, and sequences of 64 tokens and more.

    kernels: the pack's module. kind: a subclass of its `FastAttention`.
    """
    settings = {"device": torch.device("cpu"), "dtype": torch.float32, "head_dim": 128}
    # The CPU takes any kernel of the list, whatever the order.
    settings |= {"min_tokens": 64, "rest": (), **changes}
    return (kind or kernels.FastAttention)(backend, **settings)
