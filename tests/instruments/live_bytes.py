"""Counts the bytes of tensors that live at once: a peak without a GPU."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Bytes of storages made and not yet freed inside this mode: `now`, and at most `peak`.

    weights: their parameters and buffers do not count. device: the kind of tensors that count.
    """

    def __init__(self, *weights: nn.Module, device: str = "meta") -> None:
        super().__init__()
        self.device = device
        self.now = self.peak = 0
        tensors = [
            tensor for module in weights for tensor in (*module.parameters(), *module.buffers())
        ]
        self.known = {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(
        self,
        func: Callable,
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.device.type == self.device:
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self.known:
            return
        self.known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, num_bytes: int) -> None:
        self.known.discard(key)
        self.now -= num_bytes


class FusedAttention(TorchFunctionMode):
    """Runs attention as CUDA's fused kernel does, without a matrix of scores."""

    def __torch_function__(
        self,
        func: Callable,
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_flash_attention(*args[:3])[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def count_live_bytes(*weights: nn.Module) -> Iterator[LiveBytes]:
    """Counts inside a `with` block; the parameters of `weights` are not activations and do not
    count.
    """
    with torch.no_grad(), FusedAttention(), LiveBytes(*weights) as counter:
        yield counter
