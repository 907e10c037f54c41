"""Adapter files of both formats.

Format 1 holds an adapter. Format 2 also holds changes of the base's own weights and a record of the
training. In the file the names of these changes begin with "base.". A change is a difference, never
a whole weight: so it is added to a base of any precision (fp8, GGUF), and LoRAs beside it go on
working. Versions of this pack that know format 1 alone refuse format 2 by its name.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

from ..bases.published import Shapes
from ..model.adapter import AdapterConfig
from .base_changes import require_changes
from .checkpoint import WANTED_ADAPTER, adapter_shapes, read_adapter
from .detection import ADAPTER_FORMAT, ADAPTER_FORMAT_2, detect
from .reading.boundary import Fault, one_line, quoted, reading
from .reading.finite import require_finite, require_floats
from .reading.json_text import parse_object
from .reading.limits import MAX_QUOTED_CHARS
from .reading.settings import read_settings
from .reading.tensor_sizes import require_exact
from .wan_shapes import WanSizes, shapes_hash, wan_shapes
from .weight_files import read_header, read_weights, write_safetensors

# A tensor, or its shape.
Value = TypeVar("Value")

_BASE = "base."
_WANTED_FORMATS = f"format {ADAPTER_FORMAT} or {ADAPTER_FORMAT_2}"


@dataclass(frozen=True)
class TrainingRecord:
    """How an adapter was trained, for the people who use it; JSON in the file's metadata.

    base: the name of the base. base_sizes: its sizes. base_shapes: `shapes_hash` of its DiT.
    recipe: the name of the recipe. data: the videos, in words. steps: optimiser steps, at least 1.
    trained: the parts that were trained, in words.

    Raises: ValueError for a hash that is not the one of the sizes.
    """

    base: str
    base_shapes: str
    base_sizes: WanSizes
    recipe: str
    data: str
    steps: int
    trained: str

    def __post_init__(self) -> None:
        if self.base_shapes != shapes_hash(wan_shapes(self.base_sizes)):
            raise ValueError(
                f"base_shapes got {quoted(self.base_shapes)}, wanted the hash of a DiT of its "
                "base_sizes; train or download the adapter again"
            )

    @staticmethod
    def of(
        base: str, base_sizes: WanSizes, recipe: str, data: str, steps: int, trained: str
    ) -> "TrainingRecord":
        """A record for a base of these sizes."""
        base_shapes = shapes_hash(wan_shapes(base_sizes))
        return TrainingRecord(base, base_shapes, base_sizes, recipe, data, steps, trained)


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """The content of an adapter file.

    state: the adapter's own weights, as `MemoryAdapter.state_dict()` names them.
    base_changes: changes of the base's weights, see `base_changes`.
    record: None for format 1.
    """

    config: AdapterConfig
    state: dict[str, torch.Tensor]
    base_changes: dict[str, torch.Tensor] = field(default_factory=dict)
    record: TrainingRecord | None = None


def save_adapter_file(
    path: Path, adapter_file: AdapterFile, dtype: torch.dtype = torch.float32
) -> None:
    """Write an adapter file of format 2, whole or not at all.

    dtype: the type of all weights.

    Raises: ValueError for content that `read_adapter_file` would refuse by name, size or setting.
    """
    weights, record = dict(adapter_file.state), adapter_file.record
    weights |= {_BASE + name: tensor for name, tensor in adapter_file.base_changes.items()}
    metadata = {
        "format": ADAPTER_FORMAT_2,
        "config": json.dumps(dataclasses.asdict(adapter_file.config)),
        "record": "" if record is None else json.dumps(dataclasses.asdict(record)),
    }
    # A file that nothing can read must not take the place of a training.
    with reading(path, WANTED_ADAPTER, "save a whole adapter with its record"):
        _read_texts(metadata, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    write_safetensors(path, weights, metadata, dtype)


def read_adapter_file(path: Path) -> AdapterFile:
    """The content of an adapter file of any format.

    Where the system can, weights are mapped from the disk and read when they are used.

    Raises: ValueError naming the file, its content and the content wanted.
    """
    header = read_header(path)
    stated = header.metadata.get("format")
    if stated == ADAPTER_FORMAT:
        return AdapterFile(*read_adapter(path))
    found = detect(header.shapes, header.metadata)
    with reading(path, _WANTED_FORMATS, "choose a Memory-V2V adapter file"):
        if stated != ADAPTER_FORMAT_2:
            # An adapter of a newer version is named by its format.
            is_newer = found.kind == "adapter"
            what = one_line(stated, MAX_QUOTED_CHARS) if is_newer else found.what
            raise Fault(f"got {what}", "update this pack" if is_newer else "")
    with reading(path, WANTED_ADAPTER, "train or download it again"):
        # All names and sizes are compared before a weight is read or a module made.
        config, record = _read_texts(header.metadata, header.shapes)
        weights = read_weights(path)
        require_floats(weights)
        require_finite(weights)
    own, changes = _split(weights)
    return AdapterFile(config, own, changes, record)


def _read_texts(
    metadata: Mapping[str, str], shapes: Shapes
) -> tuple[AdapterConfig, TrainingRecord]:
    """Configuration and record of a file of format 2.

    Raises: Fault unless they fit each other and the file's tensors.
    """
    config = read_settings(
        AdapterConfig, parse_object(metadata.get("config", ""), "a configuration")
    )
    record = read_settings(TrainingRecord, parse_object(metadata.get("record", ""), "a record"))
    for name in ("dim", "num_blocks", "in_channels"):
        own, of_base = getattr(config, name), getattr(record.base_sizes, name)
        if own != of_base:
            raise Fault(f"has {own} for the setting {name!r}, and {of_base} in its base's sizes")
    own_shapes, change_shapes = _split(shapes)
    require_exact(own_shapes, adapter_shapes(config))
    require_changes(change_shapes, wan_shapes(record.base_sizes))
    return config, record


def _split(named: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
    """The adapter's own part of `named`, and the changes of the base under native names."""
    own = {name: value for name, value in named.items() if not name.startswith(_BASE)}
    changes = {
        name.removeprefix(_BASE): value for name, value in named.items() if name.startswith(_BASE)
    }
    return own, changes
