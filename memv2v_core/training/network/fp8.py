"""Frozen linear layers that keep their weight in fp8, with one scale a row.

The weight is widened when the layer runs, so gradients pass through it as through any other. A
weight of 1.3 B parameters takes 1.3 GB.
"""

import torch
import torch.nn.functional as F
from torch import nn

_FP8 = torch.float8_e4m3fn
_LARGEST = torch.finfo(_FP8).max


class Fp8Linear(nn.Linear):
    """A frozen linear layer. weight: (rows, columns) fp8. scale: (rows, 1) fp32."""

    scale: torch.Tensor

    @classmethod
    def of(cls, layer: nn.Linear) -> "Fp8Linear":
        """`layer` in fp8."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.in_features, made.out_features = layer.in_features, layer.out_features
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / _LARGEST
        made.weight = nn.Parameter((weight / scale).to(_FP8), requires_grad=False)
        made.register_buffer("scale", scale)
        made.bias = layer.bias
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = (self.weight.to(x.dtype) * self.scale.to(x.dtype)).to(x.dtype)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, weight, bias)


def keep_in_fp8(block: nn.Module) -> None:
    """Put every frozen linear layer inside a block into fp8."""
    for parent in list(block.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and not layer.weight.requires_grad:
                setattr(parent, name, Fp8Linear.of(layer))
