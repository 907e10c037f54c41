"""Reading and writing files of weights.

Content of a file is never executed, and weights are never held in memory twice. A set of shards
(`x-00001-of-00005.safetensors`) is one file here, named by any of its shards.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ..atomic_files import remove_file, replace_file, temp_beside
from .reading.boundary import Fault, place, quoted, reading, require_file
from .reading.limits import MAX_SHARDS
from .reading.safetensors_file import read_safetensors_header
from .reading.tensor_sizes import Header, require_names
from .reading.torch_file import open_torch_file

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
TORCH_SUFFIXES = (".ckpt", ".pt", ".pth")
WEIGHT_SUFFIXES = SAFETENSORS_SUFFIXES + TORCH_SUFFIXES
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.safetensors)", re.ASCII)
_MOST_NAMED = 3
# The format's names of types.
_CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def is_first_of_its_file(name: str) -> bool:
    """Whether a list of files should show this one.

    Later shards of a set are not shown.
    """
    shard = _SHARD.fullmatch(name)
    return shard is None or int(shard[2]) == 1


def shards_of(path: Path) -> tuple[Path, ...]:
    """All shards of the set that `path` belongs to, or `path` alone.

    Raises: ValueError naming the shards that are missing, or a number of shards that no set has.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return (path,)
    stem, number, total, suffix = shard.groups()
    if not 1 <= int(number) <= int(total) <= MAX_SHARDS:
        raise ValueError(
            f"{place(path)} is shard {int(number)} of {int(total)} by its name, wanted at most "
            f"{MAX_SHARDS} shards, counted from 1; download the set again"
        )
    paths = tuple(
        path.with_name(f"{stem}-{i:05d}-of-{total}{suffix}") for i in range(1, int(total) + 1)
    )
    if missing := [each.name for each in paths if not each.exists()]:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise ValueError(
            f"{place(path)} is one of {len(paths)} shards, and "
            f"{', '.join(missing[:_MOST_NAMED])}{more} not there; download the missing files into "
            "the same folder"
        )
    return paths


def stem_of(path: Path) -> str:
    """The file's name without its ending and without a shard's number."""
    shard = _SHARD.fullmatch(path.name)
    return shard[1] if shard else path.stem


def read_header(path: Path) -> Header:
    """Names, shapes and metadata of a file.

    Raises: ValueError naming a file that is missing, broken or not a file of weights.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    metadata: dict[str, str] = {}
    for shard in shards_of(path):
        with reading(shard):
            part = _header_of(shard)
            if twice := shapes.keys() & part.shapes.keys():
                raise Fault(f"holds {quoted(min(twice))}, which stands in an earlier shard too")
            require_names((), len(shapes) + len(part.shapes))
        shapes |= part.shapes
        metadata |= part.metadata
    return Header(shapes, metadata)


def read_weights(
    path: Path, wanted: Callable[[str], bool] = lambda _name: True
) -> dict[str, torch.Tensor]:
    """The tensors that are `wanted`, by name.

    Where the system can, they are mapped from the disk and read when they are used.

    Raises: ValueError naming a file that is missing, broken or not a file of weights.
    """
    weights: dict[str, torch.Tensor] = {}
    for shard in shards_of(path):
        with reading(shard):
            weights |= _weights_of(shard, wanted)
    return weights


def write_safetensors(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a safetensors file tensor by tensor, whole or not at all.

    dtype: the type of floats; None keeps their type.

    Raises: ValueError for a type that the format does not have.

    safetensors' own writer holds every tensor in memory at once: 20 GB for LucyEdit in fp32.
    """
    stored = {name: _stored_dtype(tensor, dtype) for name, tensor in weights.items()}
    for name, kind in stored.items():
        if kind not in _CODES:
            raise ValueError(
                f"the tensor {quoted(name)} got the type {kind}, wanted one that safetensors has; "
                "leave it out"
            )
    # Step 1: the header. Wide types come first, so that every tensor is aligned.
    order = sorted(weights, key=lambda name: (-stored[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        start, end = end, end + weights[name].numel() * stored[name].itemsize
        header[name] = {
            "dtype": _CODES[stored[name]],
            "shape": list(weights[name].shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode("utf-8")
    # The format lets spaces fill the header, so that the first tensor is aligned too.
    text += b" " * (-len(text) % 8)
    # Step 2: size of the header (8 bytes), header, tensors; then the file gets its name.
    temp = temp_beside(path)
    try:
        with temp.open("xb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in order:
                # The one tensor that is in memory now.
                tensor = weights[name].detach().to("cpu", stored[name]).contiguous()
                file.write(tensor.flatten().view(torch.uint8).numpy().data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temp, path)
    finally:
        remove_file(temp)


def _stored_dtype(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.dtype:
    # fp8 weights keep their type: they belong to scales, which would no longer fit.
    is_plain_float = tensor.is_floating_point() and tensor.dtype.itemsize > 1
    return dtype if dtype is not None and is_plain_float else tensor.dtype


def _header_of(path: Path) -> Header:
    require_file(path)
    if path.suffix.lower() in SAFETENSORS_SUFFIXES:
        return read_safetensors_header(path)
    return Header(open_torch_file(path).shapes(), {})


def _weights_of(path: Path, wanted: Callable[[str], bool]) -> dict[str, torch.Tensor]:
    require_file(path)
    if path.suffix.lower() not in SAFETENSORS_SUFFIXES:
        file = open_torch_file(path)
        return file.load([name for name in file.tensors if wanted(name)])
    # The header is checked before safetensors makes anything of it.
    names = [name for name in read_safetensors_header(path).shapes if wanted(name)]
    with safe_open(str(path), framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in names}
