"""Adapter files, and the names of a Wan DiT's weights.

Native names are Wan's own and ComfyUI's; diffusers has other names.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import save_file

from ..bases.published import OwnAdapter, Shapes
from ..bases.recammaster import RECAMMASTER
from ..bases.registry import PUBLISHED
from ..model.adapter import AdapterConfig, MemoryAdapter
from .detection import ADAPTER_FORMAT, WeightFile, detect
from .reading.boundary import Fault, one_line, place, quoted, reading
from .reading.finite import require_finite, require_floats
from .reading.json_text import parse_object
from .reading.limits import MAX_QUOTED_CHARS
from .reading.settings import read_settings
from .reading.tensor_sizes import Header, require_exact
from .wan_shapes import measured_sizes, require_config, require_shapes, wan_shapes
from .weight_files import read_header, read_weights

WANTED_ADAPTER = "a whole Memory-V2V adapter"
# A tensor, or its shape.
Value = TypeVar("Value")

# Settings of an adapter that the first files of format 1 do not have.
_LATER_SETTINGS = (
    *("attention", "clean_reads_text", "has_base_tokenizer"),
    *("memories_carry_source", "num_latent_frames", "has_frame_times"),
)

# (native name, diffusers name) of Wan2.1 and Wan2.2 text-to-video.
_NAMES = (
    ("patch_embedding.", "patch_embedding."),
    ("text_embedding.0.", "condition_embedder.text_embedder.linear_1."),
    ("text_embedding.2.", "condition_embedder.text_embedder.linear_2."),
    ("time_embedding.0.", "condition_embedder.time_embedder.linear_1."),
    ("time_embedding.2.", "condition_embedder.time_embedder.linear_2."),
    ("time_projection.1.", "condition_embedder.time_proj."),
    ("head.modulation", "scale_shift_table"),
    ("head.head.", "proj_out."),
)
_BLOCK_NAMES = (
    ("self_attn.q.", "attn1.to_q."),
    ("self_attn.k.", "attn1.to_k."),
    ("self_attn.v.", "attn1.to_v."),
    ("self_attn.o.", "attn1.to_out.0."),
    ("self_attn.norm_q.", "attn1.norm_q."),
    ("self_attn.norm_k.", "attn1.norm_k."),
    ("cross_attn.q.", "attn2.to_q."),
    ("cross_attn.k.", "attn2.to_k."),
    ("cross_attn.v.", "attn2.to_v."),
    ("cross_attn.o.", "attn2.to_out.0."),
    ("cross_attn.norm_q.", "attn2.norm_q."),
    ("cross_attn.norm_k.", "attn2.norm_k."),
    ("norm3.", "norm2."),
    ("ffn.0.", "ffn.net.0.proj."),
    ("ffn.2.", "ffn.net.2."),
    ("modulation", "scale_shift_table"),
)


def to_native_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """A Wan DiT's weights under native names, from diffusers' names.

    Raises: ValueError for a key that is not from a Wan text-to-video DiT.
    """
    return {_renamed(name, 1, 0, "diffusers'"): tensor for name, tensor in state.items()}


def to_diffusers_names(state: Mapping[str, Value]) -> dict[str, Value]:
    """The inverse of `to_native_names`."""
    return {_renamed(name, 0, 1, "native"): tensor for name, tensor in state.items()}


def save_adapter(adapter: MemoryAdapter, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write an adapter and its configuration as one safetensors file of format 1."""
    metadata = {"format": ADAPTER_FORMAT, "config": json.dumps(_stated_settings(adapter.config))}
    state = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in adapter.state_dict().items()
    }
    save_file(state, str(path), metadata=metadata)


def _stated_settings(config: AdapterConfig) -> dict[str, Any]:
    """The settings of a configuration that its file names.

    Settings that came later are named only where they differ from their default, so that older
    versions of this pack read the file.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    return {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in _LATER_SETTINGS or value != defaults[name]
    }


def read_adapter(path: Path) -> tuple[AdapterConfig, dict[str, torch.Tensor]]:
    """Configuration and weights of an adapter file of format 1, see `adapter_file` for both.

    Raises: ValueError naming the file, its content and the content wanted.
    """
    header = read_header(path)
    found = detect(header.shapes, header.metadata)
    with reading(path, f"format {ADAPTER_FORMAT}", "choose a Memory-V2V adapter file"):
        stated = header.metadata.get("format")
        if stated != ADAPTER_FORMAT:
            # An adapter of another version is named by its format.
            what = one_line(stated, MAX_QUOTED_CHARS) if found.kind == "adapter" else found.what
            raise Fault(f"got {what}")
    with reading(path, WANTED_ADAPTER, "train or download it again"):
        values = parse_object(header.metadata.get("config", ""), "a configuration")
        config = read_settings(AdapterConfig, values)
        # Compared before a weight is read or a module made.
        require_exact(header.shapes, adapter_shapes(config))
    return config, _checked_weights(path, WANTED_ADAPTER, read_weights(path))


def adapter_shapes(config: AdapterConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of an adapter."""
    # The device meta gives shapes without numbers.
    with torch.device("meta"):
        state = MemoryAdapter(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def own_adapter_of(file: WeightFile) -> OwnAdapter | None:
    """What tells the weights in a file that become an adapter; None where it has none."""
    if file.kind == "cameras":
        return RECAMMASTER.own
    return PUBLISHED[file.kind].own if file.kind in PUBLISHED else None


def read_own_adapter(path: Path) -> tuple[AdapterConfig, dict[str, torch.Tensor]]:
    """The adapter in a published base's file, with or without its DiT: ReCamMaster's cameras.

    No other weights of the file are read.

    Raises: ValueError naming a file of another kind, or a weight that it lacks.
    """
    header = read_header(path)
    file = detect(header.shapes, header.metadata, path)
    own = own_adapter_of(file)
    if own is None:
        raise ValueError(
            f"{place(path)} is {file.what}, wanted a memory adapter or a ReCamMaster checkpoint "
            f"(step20000.ckpt); {file.remedy or 'choose it as the model'}"
        )
    wanted = f"the whole of {own.file}"
    with reading(path, wanted):
        config = own.config(header.shapes, file.prefix, file.sizes)
    weights = read_weights(path, lambda name: own.owns(name.removeprefix(file.prefix)))
    state = {name.removeprefix(file.prefix): tensor for name, tensor in weights.items()}
    with reading(path, wanted):
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        require_exact(found, adapter_shapes(config))
    return config, _checked_weights(path, wanted, state)


def dit_weights(
    path: Path, weights: Mapping[str, torch.Tensor], file: WeightFile
) -> dict[str, torch.Tensor]:
    """The Wan DiT in a file's `weights` under native names, without its own adapter and foreign
    tensors.

    Raises: ValueError naming the file, for a tensor that does not fit.
    """
    assert file.sizes is not None
    with reading(path, "the weights of a Wan DiT"):
        own = own_adapter_of(file)
        native = {
            name: tensor
            for name, tensor in native_weights(weights, file).items()
            if own is None or not own.owns(name)
        }
        shapes = {name: tuple(tensor.shape) for name, tensor in native.items()}
        wanted = wan_shapes(measured_sizes(shapes, file.sizes.num_blocks))
    # A tensor beside a known layer is a part of its quantisation. Others could make a program that
    # looks for them take the file for another model.
    layers = {name.rpartition(".")[0] for name in wanted} | {""}
    return {
        name: tensor
        for name, tensor in native.items()
        if name in wanted or name.rpartition(".")[0] in layers
    }


def require_base_finite(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError for NaN or infinity in the tensors of a base.

    Every number is read: about 0.1 s for each GB that is in memory already.
    """
    with reading(path, "finite weights"):
        require_finite(weights)


def _checked_weights(
    path: Path, wanted: str, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """`weights`, all of them finite floats."""
    with reading(path, wanted):
        require_floats(weights)
        require_finite(weights)
    return weights


def native_weights(weights: Mapping[str, Value], file: WeightFile) -> dict[str, Value]:
    """The Wan DiT in `weights` under native names; other tensors are left out.

    weights: tensors by their names in the file, or shapes.

    Raises: ValueError for a key of diffusers' layout that is not from a Wan text-to-video DiT.
    """
    bare = {
        name.removeprefix(file.prefix): value
        for name, value in weights.items()
        if name.startswith(file.prefix)
    }
    return to_native_names(bare) if file.layout == "diffusers" else bare


def require_whole(path: Path, header: Header, file: WeightFile) -> None:
    """Raise ValueError unless the file holds every weight of its base, each of its size.

    The weights of its own adapter must be complete too, where the base has one.
    """
    with reading(path, "all weights of its base, each of its size"):
        if missing := missing_weights(header.shapes, file):
            raise Fault(
                f"is {file.what} without {len(missing)} of its weights, the first "
                f"{quoted(missing[0])}"
            )
        own = own_adapter_of(file)
        if own is not None:
            own.config(header.shapes, file.prefix, file.sizes)
        assert file.sizes is not None
        shapes = native_weights(header.shapes, file)
        sizes = measured_sizes(shapes, file.sizes.num_blocks)
        require_shapes(shapes, wan_shapes(sizes))
        require_config(header.metadata, sizes)


def require_fit(config: AdapterConfig, dim: int, num_blocks: int, in_channels: int) -> None:
    """Raise ValueError unless an adapter of `config` fits a base.

    dim, num_blocks, in_channels: width, depth and input channels of the base.
    """
    for name, got, wanted in (
        ("dim", config.dim, dim),
        ("num_blocks", config.num_blocks, num_blocks),
        ("in_channels", config.in_channels, in_channels),
    ):
        if got != wanted:
            raise ValueError(
                f"the adapter's {name} got {got}, wanted {wanted} of this base model; choose the "
                "adapter made for it"
            )


def missing_weights(shapes: Shapes, file: WeightFile) -> list[str]:
    """Keys that a whole base has and the file lacks, with the prefix of the file."""
    assert file.sizes is not None
    column = 0 if file.layout == "native" else 1
    # The tables list every weight of a Wan text-to-video DiT.
    wanted = [names[column] for names in _NAMES]
    for i in range(file.sizes.num_blocks):
        wanted += [f"blocks.{i}.{names[column]}" for names in _BLOCK_NAMES]
    keys = [key for name in wanted for key in _tensors_of(name)]
    return [file.prefix + key for key in keys if file.prefix + key not in shapes]


def _renamed(name: str, source: int, target: int, wanted: str) -> str:
    """`name` with its beginning translated between the columns of the tables.

    source, target: the columns to translate from and to.
    """
    block = re.match(r"(blocks\.\d+\.)(.*)", name)
    lead, rest, table = (block[1], block[2], _BLOCK_NAMES) if block else ("", name, _NAMES)
    for names in table:
        if rest.startswith(names[source]):
            return lead + names[target] + rest[len(names[source]) :]
    raise ValueError(
        f"weights got the key {quoted(name)}, wanted {wanted} names of a Wan text-to-video DiT"
    )


def _tensors_of(name: str) -> tuple[str, ...]:
    """The tensors behind an entry of the tables."""
    if not name.endswith("."):
        return (name,)
    # RMS norms have a weight alone; linear layers and norm3 have a bias too.
    return (f"{name}weight",) if "norm_" in name else (f"{name}weight", f"{name}bias")
