"""Files of weights: adapters, bases in one file, of torch and in shards, and a built-in bundle."""

import hashlib
import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import save_file

from memv2v_core.builtin import bundle
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.weights.checkpoint import (
    native_weights,
    read_adapter,
    require_whole,
    save_adapter,
)
from memv2v_core.weights.detection import detect, require_base
from memv2v_core.weights.weight_files import read_header, read_weights

from ..mutations import places
from ..mutations.content import BYTES
from ..mutations.json_text import change_json
from ..mutations.safetensors_file import SAFETENSORS
from ..target import Reading, Target

DIM, CHANNELS, TEXT_DIM, FREQ_DIM = 32, 16, 24, 32
ADAPTER_FILE, BASE_FILE, TORCH_FILE = "mine.safetensors", "base.safetensors", "base.ckpt"
SHARD = "base-{:05d}-of-00002.safetensors"
BUNDLE = "text_edit"
MARKER = "code_ran.txt"


def base_weights() -> dict[str, torch.Tensor]:
    """Every tensor of a Wan2.1 of one block, small: what the pack asks of a base."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embedding.weight": (DIM, CHANNELS, 1, 2, 2),
        "patch_embedding.bias": (DIM,),
        **_linear("text_embedding.0", TEXT_DIM, DIM),
        **_linear("text_embedding.2", DIM, DIM),
        **_linear("time_embedding.0", FREQ_DIM, DIM),
        **_linear("time_embedding.2", DIM, DIM),
        **_linear("time_projection.1", DIM, 6 * DIM),
        **_linear("head.head", DIM, 4 * CHANNELS),
        "head.modulation": (1, 2, DIM),
        **_linear("blocks.0.ffn.0", DIM, 2 * DIM),
        **_linear("blocks.0.ffn.2", 2 * DIM, DIM),
        "blocks.0.modulation": (1, 6, DIM),
        "blocks.0.norm3.weight": (DIM,),
        "blocks.0.norm3.bias": (DIM,),
    }
    for attention in ("blocks.0.self_attn", "blocks.0.cross_attn"):
        for layer in "qkvo":
            shapes |= _linear(f"{attention}.{layer}", DIM, DIM)
        shapes |= {f"{attention}.norm_{layer}.weight": (DIM,) for layer in "qk"}
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def make_adapter(folder: Path) -> None:
    torch.manual_seed(3)
    adapter = MemoryAdapter(AdapterConfig(DIM, 1, CHANNELS))
    save_adapter(adapter, folder / ADAPTER_FILE)


def make_base(folder: Path) -> None:
    save_file(base_weights(), folder / BASE_FILE, metadata={"note": places.SECRET})


def make_torch(folder: Path) -> None:
    torch.save(base_weights(), folder / TORCH_FILE)


def make_shards(folder: Path) -> None:
    weights = base_weights()
    names = sorted(weights)
    for number in (1, 2):
        part = {name: weights[name] for name in names[number - 1 :: 2]}
        save_file(part, folder / SHARD.format(number), metadata={"note": places.SECRET})


def make_bundle(folder: Path) -> None:
    # The files as the pack ships them.
    for path in bundle.WEIGHTS.glob(f"{BUNDLE}*"):
        shutil.copy(path, folder / path.name)


def read_adapter_file(folder: Path) -> Reading:
    config, state = read_adapter(folder / ADAPTER_FILE)
    adapter = MemoryAdapter(config)
    adapter.load_state_dict(state)
    return Reading({"config": repr(config), **digests(adapter.state_dict())})


def read_base(path: Path) -> Reading:
    """The base as the loader reads it, up to the point where ComfyUI takes it."""
    header = read_header(path)
    file = detect(header.shapes, header.metadata)
    require_base(file, f"{path.name} in {path.parent}")
    require_whole(path, header, file)
    return Reading({"file": repr(file), **digests(native_weights(read_weights(path), file))})


def read_bundle(folder: Path) -> Reading:
    """Everything of a built-in model, read as the loader reads it."""
    bundle.WEIGHTS = folder
    info = bundle.read_info(BUNDLE)
    codec = bundle.load_codec(BUNDLE)
    config, state = read_adapter(bundle.adapter_path(BUNDLE))
    adapter = MemoryAdapter(config)
    adapter.load_state_dict({key: value.float() for key, value in state.items()})
    vocabulary, text = bundle.read_text_weights(BUNDLE)
    dit = read_base(bundle.dit_path(BUNDLE))
    parts = {"codec": codec.state_dict(), "adapter": adapter.state_dict(), "text": text}
    value = {"info": repr(info), "config": repr(config), **dit.value}
    value["vocabulary"] = hashlib.sha256(vocabulary).hexdigest()
    for part, tensors in parts.items():
        value.update(digests(tensors, part))
    return Reading(value)


def digests(tensors: Mapping[str, torch.Tensor], part: str = "") -> dict[str, str]:
    """A short hash of each tensor: type, shape and numbers."""
    found = {}
    for name, tensor in tensors.items():
        digest = hashlib.sha1(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)
        found[f"{part} {name}"] = digest.hexdigest()
    return found


class _Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


def with_code(path: Path, rng: Random) -> str:
    """A pickle that calls a function, inside torch's archive or as torch's old format."""
    marker = str(path.parent / MARKER)
    payload = {
        "os.system": _Runs(os.system, f"touch {marker}"),
        "eval": _Runs(eval, f"open({marker!r}, 'w')"),
        "exec": _Runs(exec, f"open({marker!r}, 'w')"),
        "open": _Runs(open, marker, "w"),
        "os.mkdir": _Runs(os.mkdir, marker),
    }
    name = rng.choice(sorted(payload))
    content = {**torch.load(path, weights_only=True), "x": payload[name]}
    form = rng.choice(("archive", "old format", "bare pickle"))
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(payload[name]))
    else:
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=form == "archive")
        path.write_bytes(buffer.getvalue())
    return f"{name} in a {form}"


def other_objects(path: Path, rng: Random) -> str:
    """A file of torch that holds other things than tensors by name."""
    weights = torch.load(path, weights_only=True)
    contents: dict[str, Any] = {
        "a list": list(weights.values()),
        "a tensor": weights["patch_embedding.weight"],
        "a number": 3,
        "numbers as names": dict(enumerate(weights.values())),
        "a value that is no tensor": {**weights, "step": 7},
        "tensors in tensors": {"state_dict": {"state_dict": weights}},
        "an empty dict": {},
        "sparse tensors": {name: value.to_sparse() for name, value in weights.items()},
        "a tensor without numbers": {**weights, "head.modulation": torch.empty(0)},
        "a meta tensor": {**weights, "head.modulation": torch.empty(1, 2, DIM, device="meta")},
        "quantised": {
            **weights,
            "head.modulation": torch.quantize_per_tensor(
                weights["head.modulation"], 0.1, 0, torch.qint8
            ),
        },
    }
    name = rng.choice(sorted(contents))
    torch.save(contents[name], path)
    return name


def changed_archive(path: Path, rng: Random) -> str:
    """One file inside torch's archive is changed: emptied, cut, named outside, or a bomb."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    name = rng.choice(sorted(parts))
    change = rng.choice(("emptied", "cut", "removed", "named outside", "a bomb", "garbled"))
    data = parts.pop(name)
    if change == "named outside":
        parts[f"../../{name}"] = data
    elif change != "removed":
        contents = {"emptied": b"", "cut": data[: len(data) // 2], "a bomb": bytes(1 << 28)}
        parts[name] = contents.get(change, rng.randbytes(len(data)))
    kind = zipfile.ZIP_DEFLATED if change == "a bomb" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as new:
        for part, content in parts.items():
            new.writestr(part, content)
    return f"{name} {change}"


def changed_set(path: Path, rng: Random) -> str:
    """The set itself is changed: a shard is missing, foreign, of another count, or holds twice."""
    other = path.with_name(SHARD.format(2 if path.name == SHARD.format(1) else 1))
    change = rng.choice(("missing", "the other", "another count", "another's tensor", "a stranger"))
    if change == "missing":
        path.unlink()
    elif change == "the other":
        shutil.copy(other, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    elif change == "another count":
        total = rng.choice(("00003", "00000", "99999"))
        path.rename(path.with_name(path.name.replace("of-00002", f"of-{total}")))
    elif change == "another's tensor":
        weights = base_weights()
        names = sorted(weights)
        part = {name: weights[name] for name in names[(0 if path.name < other.name else 1) :: 2]}
        double = names[1 if path.name < other.name else 0]
        save_file({**part, double: weights[double] + 1}, path)
    else:
        save_file({"x": torch.ones(3)}, path)
    return f"{path.name}: {change}"


def files_of(*names: str) -> Any:
    """Victims by name; all files where no name is given."""
    return lambda folder: [folder / name for name in names] if names else sorted(folder.iterdir())


def bundle_change(path: Path, rng: Random) -> str:
    """A change that fits the file's kind."""
    if path.suffix == ".json":
        return f"{path.name}: {change_json(path, rng)}"
    return f"{path.name}: {rng.choice(SAFETENSORS)(path, rng)}"


WEIGHTS = (*SAFETENSORS, *BYTES, *places.PLACES)
TARGETS = (
    Target("adapter", make_adapter, files_of(ADAPTER_FILE), WEIGHTS, read_adapter_file),
    Target(
        "base safetensors",
        make_base,
        files_of(BASE_FILE),
        WEIGHTS,
        lambda folder: read_base(folder / BASE_FILE),
    ),
    Target(
        "base of torch",
        make_torch,
        files_of(TORCH_FILE),
        (*(with_code, other_objects, changed_archive) * 3, *BYTES, *places.PLACES),
        lambda folder: read_base(folder / TORCH_FILE),
    ),
    Target(
        "sharded base",
        make_shards,
        files_of(SHARD.format(1), SHARD.format(2)),
        (*(changed_set,) * 6, *WEIGHTS),
        lambda folder: read_base(folder / SHARD.format(1)),
        names_any=True,
    ),
    Target(
        "built-in bundle",
        make_bundle,
        files_of(),
        (*(bundle_change,) * 16, *BYTES, *places.PLACES),
        read_bundle,
        names_any=True,
    ),
)
