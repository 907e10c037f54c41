"""Counts the bytes of tensors that live at once in a forward on meta tensors: a peak without a
GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from memv2v_core.training.cost.live_bytes import GpuFunctions, LiveBytes


@contextmanager
def count_live_bytes(*weights: nn.Module) -> Iterator[LiveBytes]:
    """Counts inside a `with` block; the parameters of `weights` are not activations and do not
    count.
    """
    known = [tensor for module in weights for tensor in (*module.parameters(), *module.buffers())]
    with torch.no_grad(), GpuFunctions(is_bf16=False), LiveBytes(known) as counter:
        yield counter
