"""Training in bfloat16.

Matrices are multiplied in bfloat16; weights, sums and optimisers stay in fp32.
"""

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F

from ...model.attention_patterns import Attend
from ..config.trained import Precision


def computing(precision: Precision, device: torch.device) -> AbstractContextManager:
    """A context with the precision of a forward or of an optimiser's step.

    Copies of weights in bfloat16 are made anew for each use: a copy that a merging plan made would
    get its gradient after FSDP2 has summed the gradients of its block.
    """
    is_half = precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=is_half, cache_enabled=False)


def attention_for(precision: Precision, device: torch.device) -> Attend:
    """The attention to train with: torch's own, or plain matrix products.

    torch's attention has a slow backward pass in bfloat16 on a CPU, slower than in fp32.
    """
    return (
        attention_by_products
        if precision == "bf16" and device.type == "cpu"
        else F.scaled_dot_product_attention
    )


def attention_by_products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Attention of query, key and value (B, heads, L, d), as plain matrix products."""
    weights = (query * query.shape[-1] ** -0.5) @ key.mT
    return weights.softmax(dim=-1) @ value
