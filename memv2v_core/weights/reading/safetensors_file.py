"""The header of a safetensors file, read and checked by ourselves.

Format: 8 bytes with the header's length, the header (JSON), the numbers of all tensors.
"""

from pathlib import Path
from typing import Any

from .boundary import Fault, quoted
from .json_text import parse_object
from .limits import MAX_HEADER_BYTES
from .tensor_sizes import Header, num_bytes, require_names, require_shape

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
# Bits of a value, by the format's names of types.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **{"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6},
}


def read_safetensors_header(path: Path) -> Header:
    """Shapes and metadata.

    Raises: Fault unless names, types, shapes and places of all tensors fit each other and the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
            raise Fault("could not be read (it is cut short or no safetensors file)")
        if length > MAX_HEADER_BYTES:
            raise Fault(f"has a header of {length} bytes, more than {MAX_HEADER_BYTES}")
        text = file.read(length).decode("utf-8")
    fields = parse_object(text, "a header", MAX_HEADER_BYTES)
    metadata = _metadata(fields.pop(_METADATA, {}))
    require_names(fields, len(fields))
    shapes, places = {}, []
    for name, entry in fields.items():
        shapes[name], start, end = _tensor(name, entry)
        places.append((start, end))
    _require_cover(places, size - _LENGTH_BYTES - length)
    return Header(shapes, metadata)


def _metadata(values: Any) -> dict[str, str]:
    if values is None:
        return {}
    is_flat = isinstance(values, dict) and all(isinstance(text, str) for text in values.values())
    if not is_flat:
        raise Fault(f"has metadata that are no texts by name but {quoted(values)}")
    return values


def _tensor(name: str, entry: Any) -> tuple[tuple[int, ...], int, int]:
    """Shape, first byte and end of a tensor."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise Fault(f"describes the tensor {quoted(name)} without type, shape or place")
    bits = _BITS.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if bits is None:
        raise Fault(f"gives {quoted(name)} the unknown type {quoted(entry['dtype'])}")
    shape, place = require_shape(name, entry["shape"]), entry["data_offsets"]
    is_pair = isinstance(place, list) and len(place) == 2
    if not is_pair or not all(type(offset) is int and offset >= 0 for offset in place):
        raise Fault(f"gives {quoted(name)} the place {quoted(place)}, which is no pair of offsets")
    start, end = place
    if end - start != num_bytes(shape, bits):
        raise Fault(
            f"gives {quoted(name)} {end - start} bytes, and its shape {quoted(shape)} needs "
            f"{num_bytes(shape, bits)}"
        )
    return shape, start, end


def _require_cover(places: list[tuple[int, int]], size: int) -> None:
    """Raise Fault unless the tensors stand one after another and fill `size` bytes."""
    reached = 0
    for start, end in sorted(places):
        if start != reached:
            raise Fault("could not be read (its tensors overlap, or leave bytes between them)")
        reached = end
    if reached != size:
        raise Fault(
            f"could not be read (its tensors take {reached} bytes, and the file has {size} for "
            "them: it is cut short, or its download did not end)"
        )
