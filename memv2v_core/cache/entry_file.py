"""One entry as one safetensors file, named by its content hash.

Reading a file never executes anything from it.
"""

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from ..atomic_files import read_file, write_atomically
from ..cameras.trajectory import CameraTrajectory
from .entry import MemoryEntry, Segment, is_entry_id, require_finite

Kind = type | tuple[type, ...]

ENTRY_SUFFIX = ".safetensors"
_FORMAT_VERSION = 1
_METADATA_KEY = "memory_v2v_entry"
# A separate header entry, which older versions of the pack ignore.
_SEGMENT_KEY = "memory_v2v_segment"
_NUM_AXES = {"latent": 4, "c2w": 3, "intrinsics": 3}
_OPTIONAL_TENSORS = ("source_latent", "source_descriptor", "thumbnail")
_PLAIN_FIELDS = {
    "model_name": str,
    "num_frames": int,
    "turn": int,
    "created_s": float,
    "prompt": str,
    "seed": int,
    "mode": str,
    "is_pinned": bool,
}
_PLACE_FIELDS = ("idx", "start", "num_frames", "shot")
_SEGMENT_FIELDS: dict[str, Kind] = {
    "segment": (dict, type(None)),
    "memory_ids": list,
    "recipe": str,
    "descriptor_name": str,
}


def entry_path(folder: Path, entry_id: str) -> Path:
    """Path of the entry with this id in the folder of its session."""
    return folder / f"{entry_id}{ENTRY_SUFFIX}"


def write_entry(folder: Path, entry: MemoryEntry) -> None:
    """Write the entry, unless its whole file already exists.

    Tensors keep their dtype, so they come back bit-equal.
    """
    path = entry_path(folder, entry.entry_id)
    # The name is the hash of the content, so a whole file of this name is this entry.
    if is_whole(path):
        return
    tensors = {
        "latent": entry.latent,
        "c2w": entry.camera.c2w,
        "intrinsics": entry.camera.intrinsics,
    }
    for name in _OPTIONAL_TENSORS:
        value = getattr(entry, name)
        if value is not None:
            tensors[name] = value
    # Cloned: safetensors refuses tensors that share memory, and a latent and its source may.
    tensors = {
        name: value.cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    metadata = {_METADATA_KEY: json.dumps(_metadata(entry)), **_segment_metadata(entry)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def read_entry(path: Path) -> MemoryEntry:
    """The entry in this file.

    Raises: ValueError with the reason when the file is broken or foreign, or when its content is
    not the content that its name says.
    """
    # Step 1: the header, then the tensors. The header names the format before any tensor loads.
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        fields = {**_fields(header), **_segment_fields(header)}
        # Copied, not mapped: a mapped file cannot be deleted on Windows, and breaks its readers
        # when it shrinks.
        tensors = safetensors.torch.load(read_file(path))
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"not a whole safetensors file ({error}); delete it and make its turn again"
        ) from error
    # Step 2: the parts that every entry has.
    wrong = [
        name for name, num in _NUM_AXES.items() if name not in tensors or tensors[name].ndim != num
    ]
    if wrong:
        raise ValueError(
            f"lacks the tensors {', '.join(wrong)}, or their axes; delete it and make its turn "
            "again"
        )
    # Step 3: the value, which checks its fields when it is made.
    camera = CameraTrajectory(tensors["c2w"], tensors["intrinsics"], fields.pop("is_assumed"))
    optional = {name: tensors.get(name) for name in _OPTIONAL_TENSORS}
    entry = MemoryEntry(latent=tensors["latent"], camera=camera, **optional, **fields)
    # Step 4: the content against the name. This finds flipped bits and renamed files.
    if entry.entry_id != path.stem:
        raise ValueError(
            f"holds content {entry.entry_id}, wanted {path.stem}: it was renamed or its bytes "
            "changed; restore it from a backup, or delete it and make its turn again"
        )
    require_finite(entry)
    return entry


def is_whole(path: Path) -> bool:
    """Whether the file exists with exactly the bytes that its safetensors header announces."""
    try:
        with safetensors.safe_open(path, framework="pt"):
            return True
    except (FileNotFoundError, safetensors.SafetensorError):
        return False


def _metadata(entry: MemoryEntry) -> dict[str, object]:
    plain = {name: kind(getattr(entry, name)) for name, kind in _PLAIN_FIELDS.items()}
    return {
        "version": _FORMAT_VERSION,
        "parent_id": entry.parent_id,
        "is_assumed": bool(entry.camera.is_assumed),
        **plain,
    }


def _fields(header_metadata: dict[str, str]) -> dict:
    """Keyword arguments of MemoryEntry, and is_assumed, from a file's metadata.

    Every type is checked.
    """
    if _METADATA_KEY not in header_metadata:
        raise ValueError(
            "not a Memory-V2V entry: its header has no such metadata; move it out of the session's "
            "folder"
        )
    fields = json.loads(header_metadata[_METADATA_KEY])
    # The version comes first: the fields of another version mean nothing here.
    version = fields.pop("version", None) if isinstance(fields, dict) else None
    if version != _FORMAT_VERSION:
        raise ValueError(
            f"has entry format {version!r}, wanted {_FORMAT_VERSION}; update the node pack"
        )
    kinds: dict[str, Kind] = {**_PLAIN_FIELDS, "is_assumed": bool, "parent_id": (str, type(None))}
    # Exactly the known fields: a file with others comes from another program.
    wrong = [name for name, kind in kinds.items() if not isinstance(fields.get(name), kind)]
    unknown = sorted(fields.keys() - kinds.keys())
    if wrong or unknown:
        raise ValueError(
            f"has metadata with wrong or missing [{', '.join(wrong)}] and unknown "
            f"[{', '.join(unknown)}]; delete it and make its turn again"
        )
    return fields


def _segment_metadata(entry: MemoryEntry) -> dict[str, str]:
    """The header entry with the fields that only long videos use.

    Empty when the entry has no such field.
    """
    if entry.segment is None and not (entry.memory_ids or entry.recipe or entry.descriptor_name):
        return {}
    place = (
        None
        if entry.segment is None
        else {name: int(getattr(entry.segment, name)) for name in _PLACE_FIELDS}
    )
    fields = {
        "segment": place,
        "memory_ids": list(entry.memory_ids),
        "recipe": entry.recipe,
        "descriptor_name": entry.descriptor_name,
    }
    return {_SEGMENT_KEY: json.dumps(fields)}


def _segment_fields(header_metadata: dict[str, str]) -> dict:
    """Keyword arguments of MemoryEntry for an entry of a long video; empty for other files.

    Every type is checked.
    """
    if _SEGMENT_KEY not in header_metadata:
        return {}
    fields = json.loads(header_metadata[_SEGMENT_KEY])
    if not isinstance(fields, dict) or fields.keys() != _SEGMENT_FIELDS.keys():
        raise ValueError(
            f"has segment metadata {fields!r}, wanted {', '.join(_SEGMENT_FIELDS)}; update the "
            "node pack"
        )
    wrong = [name for name, kind in _SEGMENT_FIELDS.items() if not isinstance(fields[name], kind)]
    place, memory_ids = fields["segment"], fields["memory_ids"]
    # The segment has its own fields; bool counts as int, so the exact type is compared.
    is_place = isinstance(place, dict) and place.keys() == set(_PLACE_FIELDS)
    if place is not None and not (is_place and all(type(value) is int for value in place.values())):
        wrong.append("segment")
    if isinstance(memory_ids, list) and not all(is_entry_id(text) for text in memory_ids):
        wrong.append("memory_ids")
    if wrong:
        raise ValueError(
            f"has segment metadata with wrong [{', '.join(wrong)}]; delete it and make its turn "
            "again"
        )
    segment = None if place is None else Segment(**place)
    return {**fields, "segment": segment, "memory_ids": tuple(memory_ids)}
