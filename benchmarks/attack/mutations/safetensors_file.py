"""Changes of a safetensors file that know its parts: length, header, metadata, each tensor."""

import json
import struct
from pathlib import Path
from random import Random
from typing import Any

from .content import flip_bit_between
from .json_text import changed_json

_META = "__metadata__"
_BAD_NUMBERS = {
    "F64": {"NaN": struct.pack("<d", float("nan")), "infinity": struct.pack("<d", float("inf"))},
    "F32": {"NaN": struct.pack("<f", float("nan")), "infinity": struct.pack("<f", float("inf"))},
    "F16": {"NaN": b"\x00\x7e", "infinity": b"\x00\x7c"},
    "BF16": {"NaN": b"\xc0\x7f", "infinity": b"\x80\x7f"},
}


def flip_in_length(path: Path, rng: Random) -> str:
    return "length of header: " + flip_bit_between(path, rng, 0, 8)


def flip_in_header(path: Path, rng: Random) -> str:
    header, _ = _parts(path.read_bytes())
    return "header: " + flip_bit_between(path, rng, 8, 8 + len(header))


def flip_in_metadata(path: Path, rng: Random) -> str:
    header, _ = _parts(path.read_bytes())
    start = header.find(_META.encode())
    if start < 0:
        return flip_in_header(path, rng)
    stop = header.find(b"}", start + len(_META))
    # Metadata values hold JSON with braces of their own; the last brace before a tensor ends them.
    while header[stop : stop + 2] not in (b"},", b"}}") and stop + 1 < len(header):
        stop += 1
    return "metadata: " + flip_bit_between(path, rng, 8 + start, 8 + stop)


def flip_in_tensor(path: Path, rng: Random) -> str:
    """A bit of one tensor, each tensor as likely as any other."""
    header, body = _parts(path.read_bytes())
    name, spec = rng.choice(_tensors(json.loads(header)))
    start, stop = spec["data_offsets"]
    if start == stop or stop > len(body):
        return flip_in_header(path, rng)
    base = 8 + len(header)
    return f"tensor {name}: " + flip_bit_between(path, rng, base + start, base + stop)


def bad_number(path: Path, rng: Random) -> str:
    """NaN or infinity in one number of a float tensor."""
    data = path.read_bytes()
    header, body = _parts(data)
    floats = [
        (name, spec)
        for name, spec in _tensors(json.loads(header))
        if spec["dtype"] in _BAD_NUMBERS and spec["data_offsets"][0] < spec["data_offsets"][1]
    ]
    if not floats:
        return flip_in_tensor(path, rng)
    name, spec = rng.choice(floats)
    kind = rng.choice(("NaN", "infinity"))
    number = _BAD_NUMBERS[spec["dtype"]][kind]
    start, stop = spec["data_offsets"]
    place = start + len(number) * rng.randrange((stop - start) // len(number))
    body = body[:place] + number + body[place + len(number) :]
    path.write_bytes(data[: 8 + len(header)] + body)
    return f"{kind} in tensor {name}"


def change_spec(path: Path, rng: Random) -> str:
    """Type, shape or offsets of a tensor replaced in the header."""
    header, body = _parts(path.read_bytes())
    content = json.loads(header)
    name, spec = rng.choice(_tensors(content))
    field = rng.choice(("dtype", "shape", "data_offsets"))
    values: dict[str, tuple[Any, ...]] = {
        "dtype": ("F64", "F32", "F16", "BF16", "I64", "I32", "U8", "BOOL", "C64", "X9", 7, None),
        "shape": ([], [0], [-1], [2**63], [2**40, 2**40], [1, *spec["shape"]], spec["shape"][::-1]),
        "data_offsets": ([0, 0], [8, 0], [-8, 0], [0, 2**60], [0, len(body)], [2**64, 2**65], []),
    }
    spec[field] = rng.choice(values[field])
    _write(path, content, body)
    return f"{field} of {name} is {spec[field]}"


def change_header_length(path: Path, rng: Random) -> str:
    data = path.read_bytes()
    length = rng.choice((0, 1, 2**31, 2**40, 2**63, 2**64 - 1, len(data), 99_000_000))
    path.write_bytes(struct.pack("<Q", length) + data[8:])
    return f"the header says {length} bytes"


def change_names(path: Path, rng: Random) -> str:
    """A tensor renamed, removed, added or exchanged with another."""
    header, body = _parts(path.read_bytes())
    content = json.loads(header)
    tensors = _tensors(content)
    name, spec = rng.choice(tensors)
    other, other_spec = rng.choice(tensors)
    change = rng.choice(("renamed", "removed", "added", "exchanged", "named like code"))
    if change == "renamed":
        content[f"{name}_x"] = content.pop(name)
    elif change == "named like code":
        content["__import__('os').system('id')\n../../x"] = content.pop(name)
    elif change == "removed":
        body = _without(content, name, body)
    elif change == "added":
        content["foreign"] = {
            "dtype": "U8",
            "shape": [4],
            "data_offsets": [len(body), len(body) + 4],
        }
        body += b"abcd"
    else:
        content[name], content[other] = other_spec, spec
    _write(path, content, body)
    return f"tensor {name} {change}" + (f" with {other}" if change == "exchanged" else "")


def change_metadata(path: Path, rng: Random) -> str:
    """One value of the metadata changed; a value that is JSON is changed inside."""
    header, body = _parts(path.read_bytes())
    content = json.loads(header)
    metadata = content.get(_META)
    if not metadata:
        content[_META] = {"format": "pt", "foreign": "value"}
        _write(path, content, body)
        return "metadata added"
    key = rng.choice(sorted(metadata))
    if rng.random() < 0.15:
        change = rng.choice(("removed", "renamed", "made a number", "made a list"))
        value = metadata.pop(key)
        if change != "removed":
            metadata.update({f"{key}_x": value} if change == "renamed" else {key: [7]})
        _write(path, content, body)
        return f"metadata {key} {change}"
    text = metadata[key]
    is_json = text[:1] in ("{", "[")
    metadata[key], what = changed_json(text, rng) if is_json else (f"{text}x", "has an x more")
    _write(path, content, body)
    return f"metadata {key}: {what}"


def change_header_json(path: Path, rng: Random) -> str:
    """Any value of the header, as a JSON text."""
    header, body = _parts(path.read_bytes())
    text, what = changed_json(header.decode(), rng)
    raw = text.encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return f"header: {what}"


def _parts(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack("<Q", data[:8])
    return data[8 : 8 + length], data[8 + length :]


def _tensors(content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted((name, spec) for name, spec in content.items() if name != _META)


def _without(content: dict[str, Any], name: str, body: bytes) -> bytes:
    """The body without this tensor, so that the file stays a whole safetensors file."""
    start, stop = content.pop(name)["data_offsets"]
    for _, spec in _tensors(content):
        if spec["data_offsets"][0] >= stop:
            spec["data_offsets"] = [place - (stop - start) for place in spec["data_offsets"]]
    return body[:start] + body[stop:]


def _write(path: Path, content: dict[str, Any], body: bytes) -> None:
    raw = json.dumps(content).encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)


SAFETENSORS = (
    *(flip_in_length, flip_in_header, flip_in_header, flip_in_metadata, flip_in_metadata),
    *(flip_in_tensor, flip_in_tensor, flip_in_tensor, bad_number, change_spec, change_spec),
    *(change_header_length, change_names, change_metadata, change_metadata, change_header_json),
)
