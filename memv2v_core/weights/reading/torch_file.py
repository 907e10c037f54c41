"""Files that torch.save wrote, read without torch.load.

Sizes are checked before a tensor is made, and no tensor takes memory that the file does not have.
Both forms are read: the zip archive of torch 1.6 and later, and the older stream of pickles.
"""

import zipfile
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, FileIO
from pathlib import Path
from typing import Any

import torch

from .boundary import Fault, quoted
from .limits import MAX_PICKLE_BYTES, MAX_ZIP_LIST_BYTES, MAX_ZIP_RECORDS
from .tensor_sizes import num_bytes, require_names, require_total
from .torch_pickle import (
    CODE_REMEDY,
    StoredTensor,
    read_pickle,
    require_pickle_size,
)

_CONVERT = "convert it to safetensors, or download another file"
# Fixed part of a record's local header, and the places of its two lengths.
_LOCAL_BYTES, _NAME_AT, _EXTRA_AT = 30, 26, 28
_ZIP_MAGIC = b"PK"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
# Bytes before the numbers of each storage in the older form: their count.
_LEGACY_COUNT_BYTES = 8


@dataclass(frozen=True, eq=False)
class TorchFile:
    """The tensors of a file, and the first byte of each storage by its key."""

    path: Path
    tensors: dict[str, StoredTensor]
    places: dict[str, int]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def load(self, names: list[str]) -> dict[str, torch.Tensor]:
        """These tensors, mapped from the disk."""
        size = self.path.stat().st_size
        mapped = torch.UntypedStorage.from_file(str(self.path), False, size)
        storages: dict[str, torch.UntypedStorage] = {}
        loaded = {}
        for name in names:
            tensor = self.tensors[name]
            key = tensor.storage.key
            if key not in storages:
                start = self.places[key]
                storages[key] = mapped[start : start + tensor.storage.size]
                # Numbers that are not aligned to their size are copied to a place where they are.
                if start % tensor.dtype.itemsize:
                    storages[key] = storages[key].clone()
            empty = torch.empty(0, dtype=tensor.dtype)
            loaded[name] = empty.set_(storages[key], tensor.offset, tensor.shape, tensor.strides)
        return loaded


def open_torch_file(path: Path) -> TorchFile:
    """What a file of torch holds, by its lists alone.

    Raises: Fault for a file whose sizes do not fit each other, that is packed, or that holds more
    than tensors.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        is_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    content, places = _read_archive(path) if is_archive else _read_legacy(path, size)
    tensors = _tensors_in(content)
    require_names(tensors, len(tensors))
    for name, tensor in tensors.items():
        _require_inside(name, tensor, places)
    used = sum(num_bytes(t.shape, 8 * t.dtype.itemsize) for t in tensors.values())
    require_total(used, size)
    return TorchFile(path, tensors, places)


def _tensors_in(content: Any) -> dict[str, StoredTensor]:
    # Trainers often wrap the weights: {"state_dict": ...}.
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    is_dict = isinstance(content, dict)
    if not is_dict or not all(isinstance(value, StoredTensor) for value in content.values()):
        kind = "a dict" if is_dict else f"a {type(content).__name__}"
        raise Fault(f"holds {kind} of other things than tensors by name", "choose another file")
    return content


def _require_inside(name: str, tensor: StoredTensor, places: dict[str, int]) -> None:
    """Raise Fault unless a tensor has its own numbers in its storage, each once."""
    if tensor.storage.key not in places:
        raise Fault(f"names {quoted(name)}, whose numbers are not in it", _CONVERT)
    if 0 in tensor.shape:
        return
    size, held = tensor.dtype.itemsize, tensor.storage.size
    ends = (side - 1 for side in tensor.shape)
    last = tensor.offset + sum(end * step for end, step in zip(ends, tensor.strides, strict=True))
    needed = num_bytes(tensor.shape, 8 * size)
    if (last + 1) * size > held or needed > held:
        raise Fault(
            f"gives {quoted(name)} the shape {quoted(tensor.shape)} of {needed} bytes, and its "
            f"storage has {held}",
            _CONVERT,
        )


class _Bounded(FileIO):
    """A file of which nobody reads more than the list of an archive at once."""

    def read(self, size: int | None = -1) -> bytes:
        here = self.tell()
        left = self.seek(0, SEEK_END) - here
        self.seek(here)
        size = left if size is None or size < 0 else min(size, left)
        if size > MAX_ZIP_LIST_BYTES:
            raise Fault(f"has a list of records of {size} bytes, more than {MAX_ZIP_LIST_BYTES}")
        return super().read(size) or b""


def _read_archive(path: Path) -> tuple[Any, dict[str, int]]:
    """The value in an archive, and the places of its storages."""
    with _Bounded(path) as file, zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if len(records) > MAX_ZIP_RECORDS:
            raise Fault(f"has {len(records)} records, more than {MAX_ZIP_RECORDS}", _CONVERT)
        named = {record.filename: record for record in records}
        root = _root_of(named)
        if len(named) < len(records):
            raise Fault("has two records of one name", _CONVERT)
        for record in records:
            _require_plain(record)
        order = named.get(f"{root}byteorder")
        if order is not None and _bytes_of(file, order) != b"little":
            raise Fault("holds numbers in another byte order", _CONVERT)
        content, _, storages = read_pickle(_bytes_of(file, named[f"{root}data.pkl"]))
        places = {}
        for key in {tensor.storage.key for tensor in _tensors_in(content).values()}:
            needed, held = storages[key].size, named.get(f"{root}data/{key}")
            if held is None or needed > held.file_size:
                found = "nothing" if held is None else f"{held.file_size}"
                raise Fault(f"announces {needed} bytes for storage {quoted(key)}, holds {found}")
            places[key] = _start_of(file, held)
        return content, places


def _root_of(named: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in which torch put everything, "archive/" for example."""
    # TorchScript keeps its program and constants there; a file of weights has neither.
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in named):
        raise Fault("is a TorchScript program, which is never run", _CONVERT)
    found = [name for name in named if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(found) != 1:
        raise Fault("could not be read (it is an archive of something else)", CODE_REMEDY)
    return found[0].removesuffix("data.pkl")


def _require_plain(record: zipfile.ZipInfo) -> None:
    """Raise Fault for a record that is packed or encrypted: it may be any size once it is open."""
    is_stored = record.compress_type == zipfile.ZIP_STORED
    if not is_stored or record.file_size != record.compress_size or record.flag_bits & 1:
        raise Fault(f"holds the packed record {quoted(record.filename)}", _CONVERT)


def _bytes_of(file: FileIO, record: zipfile.ZipInfo) -> bytes:
    require_pickle_size(record.file_size)
    file.seek(_start_of(file, record))
    return file.read(record.file_size)


def _start_of(file: FileIO, record: zipfile.ZipInfo) -> int:
    """The first byte of a record's content.

    Raises: Fault for a record that leaves the file.
    """
    file.seek(record.header_offset)
    # The local header may have another length than the list of records says.
    local = file.read(_LOCAL_BYTES)
    lengths = (local[_NAME_AT:_EXTRA_AT], local[_EXTRA_AT:_LOCAL_BYTES])
    start = record.header_offset + _LOCAL_BYTES + sum(_little(each) for each in lengths)
    if len(local) < _LOCAL_BYTES or start + record.file_size > file.seek(0, SEEK_END):
        raise Fault("could not be read (it is cut short)")
    return start


def _read_legacy(path: Path, size: int) -> tuple[Any, dict[str, int]]:
    """The value in a file of torch before 1.6, and the places of its storages.

    Five pickles (a mark, a version, the system, the value, the keys of the storages), then every
    storage: the count of its numbers, and the numbers.
    """
    with path.open("rb") as file:
        found = []
        for wanted in (_LEGACY_MAGIC, _LEGACY_VERSION, None, None, None):
            start = file.tell()
            pickled = read_pickle(file.read(MAX_PICKLE_BYTES))
            file.seek(start + pickled.size)
            if wanted is not None and pickled.value != wanted:
                raise Fault("could not be read (it is no file that torch saved)", CODE_REMEDY)
            found.append(pickled)
        _, _, system, content, keys = found
        if not isinstance(system.value, dict) or system.value.get("little_endian") is not True:
            raise Fault("holds numbers in another byte order", _CONVERT)
        if not isinstance(keys.value, list):
            raise Fault("could not be read (its list of storages is broken)", CODE_REMEDY)
        places: dict[str, int] = {}
        for key in keys.value:
            storage = content.storages.get(key) if isinstance(key, str) else None
            if storage is None or key in places:
                raise Fault(f"holds the storage {quoted(key)}, which nothing names", _CONVERT)
            count = _little(file.read(_LEGACY_COUNT_BYTES))
            start = file.tell()
            if count != storage.count or start + storage.size > size:
                raise Fault(
                    f"announces {storage.count} numbers for storage {quoted(key)}, and holds "
                    f"{count} in {size - start} bytes"
                )
            places[key] = start
            file.seek(storage.size, SEEK_CUR)
    return content.value, places


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
