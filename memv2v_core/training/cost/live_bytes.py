"""Bytes of tensors that live at once in a training step on meta tensors: a peak without a GPU.

Tensors on the device meta have sizes and no numbers, so a step of a full-size model takes seconds
and no memory.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

# Functions that CUDA's autocast computes in bf16. It computes layer_norm in fp32.
_IN_BF16 = frozenset(
    (F.linear, F.conv2d, F.conv3d, torch.einsum, torch.matmul, torch.Tensor.__matmul__)
)


class LiveBytes(TorchDispatchMode):
    """Bytes of storages made and not yet freed inside this mode: `now`, and at most `peak`.

    known: tensors that do not count. device: only tensors on it count.
    """

    def __init__(self, known: list[torch.Tensor], device: str = "meta") -> None:
        super().__init__()
        self.now = self.peak = 0
        self._device = device
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Callable,
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and value.device.type == self._device:
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._known:
            return
        self._known.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.now -= num_bytes


class GpuFunctions(TorchFunctionMode):
    """Functions as a GPU has them and the device meta has not.

    Attention keeps no matrix of scores, and is_bf16 gives the types of CUDA's autocast.
    """

    def __init__(self, is_bf16: bool) -> None:
        super().__init__()
        self._is_bf16 = is_bf16
        # Autocast keeps the bf16 copies of trained weights to the end of the forward pass.
        self._copies: dict[int, torch.Tensor] | None = {}

    def __torch_function__(
        self,
        func: Callable,
        types: tuple[type, ...],
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            query, key, value = (self._lowered(each) for each in args[:3])
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        if self._is_bf16 and func in _IN_BF16:
            args, kwargs = tree_map(self._lowered, (args, kwargs))
        elif self._is_bf16 and func is F.layer_norm:
            args, kwargs = tree_map(_raised, (args, kwargs))
        return func(*args, **kwargs)

    def forget_copies(self) -> None:
        """End the forward pass."""
        self._copies = None

    def backward(self, loss: torch.Tensor) -> None:
        """loss.backward(), with the functions of this mode where activations are made again."""
        # Tensor.backward would leave this mode.
        torch.autograd.Variable._execution_engine.run_backward(
            (loss,),
            (torch.ones_like(loss),),
            keep_graph=False,
            create_graph=False,
            inputs=(),
            allow_unreachable=True,
            accumulate_grad=True,
        )

    def _lowered(self, value: Any) -> Any:
        is_high = isinstance(value, torch.Tensor) and value.dtype == torch.float32
        if not (self._is_bf16 and is_high):
            return value
        is_weight = isinstance(value, nn.Parameter) and value.requires_grad
        if self._copies is None or not is_weight or not torch.is_grad_enabled():
            return value.bfloat16()
        if id(value) not in self._copies:
            self._copies[id(value)] = value.bfloat16()
        return self._copies[id(value)]


def _raised(value: Any) -> Any:
    is_low = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
    return value.float() if is_low else value
