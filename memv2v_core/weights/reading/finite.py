"""Weights that are floats without NaN and infinity.

One such value makes every picture black or noise, without an error.
"""

from collections.abc import Mapping

import torch

from .boundary import Fault, quoted

# Elements looked at in one go: large tensors are read from the disk piece by piece.
_PIECE = 2**24
# Types of one byte have no isfinite in torch. Of each: the bits without the sign from which on the
# value is NaN or infinite; rare types have one such pattern only.
_FP8_LIMITS = {torch.float8_e4m3fn: 0x7F, torch.float8_e5m2: 0x7C}
_FP8_NAN = {"float8_e4m3fnuz": 0x80, "float8_e5m2fnuz": 0x80, "float8_e8m0fnu": 0xFF}


def require_floats(weights: Mapping[str, torch.Tensor]) -> None:
    """Raise Fault, naming the tensor, for whole numbers, truth values and complex numbers."""
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise Fault(f"has a tensor {quoted(name)} of type {kind}, which must be a float")


def require_finite(weights: Mapping[str, torch.Tensor]) -> None:
    """Raise Fault, naming the tensor, for NaN or infinity in any tensor."""
    for name, tensor in weights.items():
        if count := count_not_finite(tensor):
            raise Fault(
                f"has {count} of {tensor.numel()} values in {quoted(name)} that are NaN or infinite"
            )


def count_not_finite(tensor: torch.Tensor) -> int:
    """How many values are NaN or infinite; 0 for types that have neither."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return 0
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not tensor.is_contiguous():
        tensor = tensor.contiguous()
    return sum(_count(piece) for piece in tensor.flatten().split(_PIECE))


def _count(values: torch.Tensor) -> int:
    """The same for a flat piece."""
    if values.dtype.itemsize > 1:
        # The largest and the smallest value are finite only if all are: one pass, no copy.
        low, high = torch.aminmax(values)
        if torch.isfinite(low) and torch.isfinite(high):
            return 0
        return int((~torch.isfinite(values)).sum())
    bits = values.view(torch.uint8)
    if values.dtype in _FP8_LIMITS:
        limit, unsigned = _FP8_LIMITS[values.dtype], bits & 0x7F
        # As above; the largest byte is found much faster than bytes are counted.
        _, high = torch.aminmax(unsigned)
        return int((unsigned >= limit).sum()) if int(high) >= limit else 0
    name = str(values.dtype).removeprefix("torch.")
    # Packed types of less than a byte have neither NaN nor infinity.
    return int((bits == _FP8_NAN[name]).sum()) if name in _FP8_NAN else 0
