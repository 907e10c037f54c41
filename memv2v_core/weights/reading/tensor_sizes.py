"""What a file says of its tensors, checked against the file before a tensor is made."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...bases.published import Shapes
from .boundary import Fault, quoted
from .limits import MAX_AXES, MAX_NAME_CHARS, MAX_SHARED_USE, MAX_TENSORS


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says without its numbers: every tensor's shape, and safetensors metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def require_names(names: Iterable[Any], num_names: int) -> None:
    """Raise Fault for too many tensors, and for names that are no texts or too long."""
    if num_names > MAX_TENSORS:
        raise Fault(f"names {num_names} tensors, more than {MAX_TENSORS}")
    for name in names:
        if not isinstance(name, str) or len(name) > MAX_NAME_CHARS:
            raise Fault(f"names a tensor {quoted(name)}, more than {MAX_NAME_CHARS} characters")


def require_shape(name: str, shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of whole numbers, none below 0.

    Raises: Fault for anything else, and for too many axes.
    """
    is_list = isinstance(shape, list | tuple) and len(shape) <= MAX_AXES
    if not is_list or not all(type(size) is int and size >= 0 for size in shape):
        raise Fault(
            f"gives {quoted(name)} the shape {quoted(shape)}, which is no list of at most "
            f"{MAX_AXES} sizes"
        )
    return tuple(shape)


def require_exact(found: Shapes, wanted: Shapes) -> None:
    """Raise Fault unless a file has exactly the tensors that are wanted, each of its shape."""
    for name, shape in wanted.items():
        if name not in found:
            raise Fault(f"has no tensor {quoted(name)}")
        if found[name] != shape:
            raise Fault(
                f"has a tensor {quoted(name)} of size {quoted(found[name])}, which must be "
                f"{quoted(shape)}"
            )
    if unknown := found.keys() - wanted.keys():
        raise Fault(f"has a tensor {quoted(min(unknown))}, which has no place in it")


def num_bytes(shape: Sequence[int], num_bits: int) -> int:
    """Bytes of a tensor whose values have `num_bits` each."""
    return -(-math.prod(shape) * num_bits // 8)


def require_total(num_used: int, num_held: int) -> None:
    """Raise Fault unless the tensors use the bytes of their file about once.

    num_used: bytes of all tensors. num_held: bytes of the file.
    """
    if num_used > MAX_SHARED_USE * num_held:
        raise Fault(
            f"holds {num_held} bytes, and its tensors would take {num_used}, more than "
            f"{MAX_SHARED_USE} times as many"
        )
