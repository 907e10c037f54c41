"""Whole files, changed by seeded dice: each is read as it is, or refused by one ValueError."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import torch
from instruments.adapter_files import random_adapter_file
from instruments.broken_weights import (
    SIZES,
    PeakMemory,
    base_weights,
    break_bytes,
    break_json,
    break_safetensors,
    can_measure,
    fault_of,
    save_base,
    save_small_adapter,
    with_header,
)

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.weights.adapter_file import read_adapter_file, save_adapter_file
from memv2v_core.weights.base_changes import apply_base_changes
from memv2v_core.weights.checkpoint import (
    dit_weights,
    read_adapter,
    require_base_finite,
    require_whole,
)
from memv2v_core.weights.detection import detect, require_base
from memv2v_core.weights.reading.boundary import place
from memv2v_core.weights.weight_files import read_header, read_weights

NUM_MUTATIONS = 80
MAX_BYTES = 60 * 2**20
Read = Callable[[Path], dict[str, torch.Tensor]]


def load_adapter(path: Path) -> dict[str, torch.Tensor]:
    config, state = read_adapter(path)
    adapter = MemoryAdapter(config)
    adapter.load_state_dict(state)
    return dict(adapter.state_dict())


def save_trained_adapter(path: Path) -> None:
    config = AdapterConfig(32, 2, 16, has_base_tokenizer=True)
    save_adapter_file(path, random_adapter_file(config, SIZES, "lora", base_weights()))


def load_trained_adapter(path: Path) -> dict[str, torch.Tensor]:
    file = read_adapter_file(path)
    adapter = MemoryAdapter(file.config)
    adapter.load_state_dict(file.state)
    return dict(adapter.state_dict()) | apply_base_changes(base_weights(), file.base_changes)


def load_base(path: Path) -> dict[str, torch.Tensor]:
    """As the loader reads a base, up to the point where ComfyUI takes it."""
    header = read_header(path)
    file = detect(header.shapes, header.metadata)
    require_base(file, place(path))
    require_whole(path, header, file)
    weights = dit_weights(path, read_weights(path), file)
    require_base_finite(path, weights)
    return weights


def break_config(data: bytes, dice: Random) -> bytes:
    """A change of the bytes, of the format's parts, or of the configuration."""
    return dice.choice((break_bytes, break_safetensors, break_safetensors))(data, dice)


KINDS = [
    pytest.param(save_small_adapter, load_adapter, "a.safetensors", break_config, id="adapter"),
    pytest.param(
        save_trained_adapter, load_trained_adapter, "a.safetensors", break_config, id="adapter-2"
    ),
    pytest.param(save_base, load_base, "b.safetensors", break_config, id="base"),
    pytest.param(save_base, load_base, "b.ckpt", break_bytes, id="torch"),
]


@pytest.mark.parametrize(("save", "load", "name", "change"), KINDS)
def test_a_changed_file_is_read_or_refused_by_name(
    save: Callable[[Path], None],
    load: Read,
    name: str,
    change: Callable[[bytes, Random], bytes],
    tmp_path: Path,
) -> None:
    path, dice = tmp_path / name, Random(7)
    save(path)
    whole = path.read_bytes()
    sizes = {key: (value.shape, value.dtype) for key, value in load(path).items()}
    refused = 0
    for _ in range(NUM_MUTATIONS):
        path.write_bytes(change(whole, dice))
        found: dict[str, torch.Tensor] = {}
        if fault_of(lambda into=found: into.update(load(path)), name):
            refused += 1
            continue
        # What is read has the names and shapes of the whole file, and finite numbers.
        assert {key: value.shape for key, value in found.items()} == {
            key: shape for key, (shape, _) in sizes.items()
        }
        assert all(torch.isfinite(value.double()).all() for value in found.values())
    assert refused > NUM_MUTATIONS / 4


def test_a_changed_configuration_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path, dice, refused = tmp_path / "a.safetensors", Random(11), 0
    for _ in range(NUM_MUTATIONS):
        save_small_adapter(path)

        def change(header: dict) -> None:
            metadata = header["__metadata__"]
            metadata["config"] = break_json(metadata["config"], dice)

        with_header(path, change)
        refused += bool(fault_of(lambda: load_adapter(path), path.name))
    # A setting with a default may be missing.
    assert NUM_MUTATIONS / 2 < refused < NUM_MUTATIONS


def test_a_changed_record_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path, dice, refused = tmp_path / "a.safetensors", Random(13), 0
    for _ in range(NUM_MUTATIONS):
        save_trained_adapter(path)

        def change(header: dict) -> None:
            metadata = header["__metadata__"]
            metadata["record"] = break_json(metadata["record"], dice)

        with_header(path, change)
        refused += bool(fault_of(lambda: load_trained_adapter(path), path.name))
    # A text may have changed.
    assert NUM_MUTATIONS / 2 < refused < NUM_MUTATIONS


@pytest.mark.skipif(not can_measure(), reason="the peak memory of a process is Linux's")
@pytest.mark.parametrize(("save", "load", "name", "change"), KINDS)
def test_a_changed_file_takes_no_memory(
    save: Callable[[Path], None],
    load: Read,
    name: str,
    change: Callable[[bytes, Random], bytes],
    tmp_path: Path,
) -> None:
    path, dice = tmp_path / name, Random(13)
    save(path)
    whole = path.read_bytes()
    load(path)
    with PeakMemory() as peak:
        for _ in range(NUM_MUTATIONS):
            path.write_bytes(change(whole, dice))
            fault_of(lambda: load(path), name)
    assert peak.rise < MAX_BYTES


def test_the_meter_sees_memory() -> None:
    if not can_measure():
        pytest.skip("the peak memory of a process is Linux's")
    with PeakMemory() as peak:
        torch.zeros(2 * MAX_BYTES // 4)
        torch.ones(2 * MAX_BYTES // 4)
    assert peak.rise > MAX_BYTES


def test_an_unchanged_file_is_read_as_it_is(tmp_path: Path) -> None:
    wanted = base_weights()
    for name in ("b.safetensors", "b.ckpt"):
        save_base(tmp_path / name)
        found = load_base(tmp_path / name)
        assert list(sorted(found)) == sorted(wanted)
        assert all(torch.equal(found[key], value) for key, value in wanted.items())
