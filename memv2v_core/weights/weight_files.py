"""Reading and writing files of weights.

Content of a file is never executed, and weights are never held in memory twice. A set of shards
(`x-00001-of-00005.safetensors`) is one file here, named by any of its shards.
"""

import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..atomic_files import remove_file, replace_file, temp_beside

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")
TORCH_SUFFIXES = (".ckpt", ".pt", ".pth")
WEIGHT_SUFFIXES = SAFETENSORS_SUFFIXES + TORCH_SUFFIXES
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(\.safetensors)")
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


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says without its numbers: every tensor's shape, and safetensors metadata."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


def is_first_of_its_file(name: str) -> bool:
    """Whether a list of files should show this one.

    Later shards of a set are not shown.
    """
    shard = _SHARD.fullmatch(name)
    return shard is None or int(shard[2]) == 1


def shards_of(path: Path) -> tuple[Path, ...]:
    """All shards of the set that `path` belongs to, or `path` alone.

    Raises: ValueError naming the shards that are missing.
    """
    shard = _SHARD.fullmatch(path.name)
    if shard is None:
        return (path,)
    stem, _, total, suffix = shard.groups()
    paths = tuple(
        path.with_name(f"{stem}-{i:05d}-of-{total}{suffix}") for i in range(1, int(total) + 1)
    )
    if missing := [each.name for each in paths if not each.exists()]:
        raise ValueError(
            f"{path.name} in {path.parent} is one of {len(paths)} shards, and {', '.join(missing)} "
            "not there; download the missing files into the same folder"
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
        # safetensors has a header; a file of torch must be opened, but its tensors are mapped.
        if shard.suffix.lower() in SAFETENSORS_SUFFIXES:
            with _reading(shard), safe_open(str(shard), framework="pt") as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
                metadata |= file.metadata() or {}
        else:
            shapes |= {name: tuple(tensor.shape) for name, tensor in _read_torch(shard).items()}
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
        if shard.suffix.lower() in SAFETENSORS_SUFFIXES:
            with _reading(shard), safe_open(str(shard), framework="pt") as file:
                weights |= {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118
        else:
            weights |= {name: tensor for name, tensor in _read_torch(shard).items() if wanted(name)}
    return weights


def write_safetensors(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    dtype: torch.dtype | None = None,
) -> None:
    """Write a safetensors file tensor by tensor, whole or not at all.

    dtype: the type of floats; None keeps their type.

    safetensors' own writer holds every tensor in memory at once: 20 GB for LucyEdit in fp32.
    """
    stored = {name: _stored_dtype(tensor, dtype) for name, tensor in weights.items()}
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


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file that torch.save wrote.

    Nothing in it is executed (`weights_only`).
    """
    with _reading(path):
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    # Trainers often wrap the weights: {"state_dict": ...}.
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise ValueError(
            f"{path.name} in {path.parent} got a {type(content).__name__} of other things, wanted "
            "tensors by name; choose a file of weights"
        )
    return content


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A context that turns every kind of broken file into one ValueError.

    The error names the file.
    """
    try:
        yield
    except (
        SafetensorError,
        FileNotFoundError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "download or convert it again"
        # A pickle that needs code is refused, never run.
        if isinstance(error, pickle.UnpicklingError):
            remedy = (
                "it holds more than tensors or is no file of weights, so nothing of it is loaded"
            )
        raise ValueError(
            f"{path.name} in {path.parent} could not be read ({reason}); {remedy}"
        ) from error
