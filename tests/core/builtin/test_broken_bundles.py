"""Files of a built-in model, changed: each is read as it is, or refused by one ValueError."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from instruments.broken_weights import (
    PeakMemory,
    break_bytes,
    break_json,
    break_safetensors,
    can_measure,
    fault_of,
)
from safetensors.torch import load_file, save_file

from memv2v_core.builtin import bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.weights.checkpoint import read_adapter

NAME = "text_edit"
NUM_MUTATIONS = 60
MAX_BYTES = 60 * 2**20


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small editor with random weights, and the shipped text encoder."""
    folder = tmp_path_factory.mktemp("saved")
    shipped = bundle.read_info(NAME)
    sizes = {"num_heads": 2, "num_layers": 1, "ffn_dim": 96, "freq_dim": 16}
    dit = replace(shipped.dit, dim=64, **sizes)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(2)
        patch.setattr(bundle, "WEIGHTS", folder)
        adapter = MemoryAdapter(AdapterConfig(64, 1, dit.in_channels, has_cameras=False))
        codec = Codec(dit.channels, dit.num_used)
        bundle.save_bundle(replace(shipped, dit=dit), NAME, bundle.build_dit(dit), adapter, codec)
    shutil.copy(bundle.text_path(NAME), folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the editor that a test may break."""
    shutil.copytree(saved, tmp_path / "weights")
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def load_all() -> dict[str, Any]:
    """Everything that the loaders read of a built-in model."""
    info = bundle.read_info(NAME)
    codec = bundle.load_codec(NAME)
    config, state = read_adapter(bundle.adapter_path(NAME))
    MemoryAdapter(config).load_state_dict({key: value.float() for key, value in state.items()})
    vocabulary, text = bundle.read_text_weights(NAME)
    dit = bundle.read_dit(NAME, info)
    tensors = [*codec.state_dict().values(), *state.values(), *text.values(), *dit.values()]
    assert all(torch.isfinite(tensor).all() for tensor in tensors)
    return {"config": config, "count": len(tensors), "vocabulary": len(vocabulary)}


def broken(path: Path, dice: Random) -> None:
    """One change that fits the kind of the file."""
    if dice.random() < 0.3:
        path.write_bytes(break_bytes(path.read_bytes(), dice))
    elif path.suffix == ".json":
        path.write_text(break_json(path.read_text(encoding="utf-8"), dice), encoding="utf-8")
    else:
        path.write_bytes(break_safetensors(path.read_bytes(), dice))


def mutate(folder: Path, dice: Random) -> list[dict[str, Any]]:
    """What is read of the changed models that are not refused."""
    paths = sorted(folder.iterdir())
    read = []
    for _ in range(NUM_MUTATIONS):
        path = folder / f"{NAME}.json" if dice.random() < 0.4 else dice.choice(paths)
        whole = path.read_bytes()
        broken(path, dice)
        found: dict[str, Any] = {}
        # A changed size is noticed at the file that no longer fits.
        if not fault_of(lambda into=found: into.update(load_all()), *(each.name for each in paths)):
            read.append(found)
        path.write_bytes(whole)
    return read


def test_a_changed_model_is_read_or_refused_by_name(folder: Path) -> None:
    whole, read = load_all(), mutate(folder, Random(3))
    # A setting with a default may be missing, and a number may have another value.
    assert 0 < len(read) < NUM_MUTATIONS / 2
    assert all(found["count"] == whole["count"] for found in read)


@pytest.mark.skipif(not can_measure(), reason="the peak memory of a process is Linux's")
def test_a_changed_model_takes_no_memory(folder: Path) -> None:
    load_all()
    with PeakMemory() as peak:
        mutate(folder, Random(5))
    assert peak.rise < MAX_BYTES


def changed_info(folder: Path, place: str, value: Any) -> None:
    path = folder / f"{NAME}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    *parts, last = place.split(".")
    fields = content
    for part in parts:
        fields = fields[part]
    fields[last] = value
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("dit.dim", 10**9, "1000000000 for the setting 'dim'"),
        ("dit.num_layers", 10**6, "1000000 for the setting 'num_layers'"),
        ("dit.num_heads", 3, "3 heads for a width of 64"),
        ("dit.num_heads", 64, "64 heads for a width of 64"),
        ("dit.used_channels", 49, "49 used channels of 48"),
        ("dit.freq_dim", 63, "63 frequencies"),
        ("dit.has_source_channels", 1, "1 for the setting 'has_source_channels'"),
        ("size", 97, "a size of 97 pixels"),
        ("size", 96.0, "96.0 for the setting 'size'"),
        ("num_steps", True, "True for the setting 'num_steps'"),
        ("shift", -3, "-3 for the setting 'shift'"),
        ("fov_deg", 180.5, "a lens of 180.5 degrees"),
        ("task", "anything", "'anything' for the setting 'task'"),
        ("task", "novel_view", "the task novel_view and a text encoder"),
        ("text", None, "the task text_edit and no text encoder"),
        ("text.dim", 32, "a text encoder of another width than 64"),
        ("text.num_tokens", 10**8, "100000000 for the setting 'num_tokens'"),
        ("text", [], "settings that are no JSON object"),
        ("wings", 2, "the setting 'wings', which is unknown here"),
    ],
)
def test_a_setting_that_fits_no_model_is_named(
    folder: Path, place: str, value: Any, words: str
) -> None:
    changed_info(folder, place, value)
    assert words in fault_of(lambda: bundle.read_info(NAME), f"{NAME}.json in {folder}")


@pytest.mark.parametrize(
    ("place", "part", "value"),
    [
        ("dit.dim", "dit", 512),
        ("dit.num_layers", "dit", 7),
        ("dit.ffn_dim", "dit", 640),
        ("dit.used_channels", "vae", 8),
        ("text.num_layers", "text", 3),
        ("text.ffn_dim", "text", 256),
        ("text.head_dim", "text", 8),
    ],
)
def test_a_size_that_the_weights_do_not_have_is_named_at_the_weights(
    folder: Path, place: str, part: str, value: int
) -> None:
    changed_info(folder, place, value)
    message = fault_of(load_all, f"{NAME}_{part}.safetensors in {folder}")
    assert "has a tensor" in message or "has no tensor" in message


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 90_000, b" " * 2_000_000])
def test_a_description_that_is_no_json_is_named(folder: Path, text: bytes) -> None:
    (folder / f"{NAME}.json").write_bytes(text)
    assert fault_of(lambda: bundle.read_info(NAME), f"{NAME}.json in {folder}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
@pytest.mark.parametrize("part", [".json", "_dit.safetensors", "_text.safetensors"])
def test_a_pipe_is_not_waited_for(folder: Path, part: str) -> None:
    path = folder / f"{NAME}{part}"
    path.unlink()
    os.mkfifo(path)
    assert "a folder or a device" in fault_of(load_all, path.name)


def rewritten(folder: Path, part: str, change: Callable[[dict[str, torch.Tensor]], object]) -> str:
    """What is said of a part whose tensors were changed."""
    path = folder / f"{NAME}_{part}.safetensors"
    weights = {name: tensor.clone() for name, tensor in load_file(str(path)).items()}
    change(weights)
    save_file(weights, str(path))
    message = fault_of(load_all, path.name)
    assert "install the pack again" in message
    return message


@pytest.mark.parametrize("part", ["dit", "vae", "text"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_number_that_is_not_finite_is_named(folder: Path, part: str, bad: float) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in weights.items() if tensor.dtype is torch.float16)
        weights[name].view(-1)[0] = bad

    assert "has 1 of" in rewritten(folder, part, change)


@pytest.mark.parametrize("part", ["dit", "vae", "text"])
def test_whole_numbers_and_tensors_too_many_are_refused(
    saved: Path, folder: Path, part: str
) -> None:
    def to_int(weights: dict[str, torch.Tensor]) -> None:
        name = next(name for name, tensor in weights.items() if tensor.dtype is torch.float16)
        weights[name] = weights[name].int()

    assert "of type int32, which must be a float" in rewritten(folder, part, to_int)
    shutil.copy(saved / f"{NAME}_{part}.safetensors", folder)
    message = rewritten(folder, part, lambda weights: weights.update(zzz=torch.zeros(1)))
    assert "'zzz', which has no place in it" in message


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (None, "has no tensor 'spiece_model'"),
        (torch.zeros(10), "no text of bytes"),
        (torch.zeros(3, 4, dtype=torch.uint8), "no text of bytes"),
        (torch.full((40,), 7, dtype=torch.uint8), "could not be read"),
        (torch.zeros(0, dtype=torch.uint8), ""),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(
    folder: Path, pieces: torch.Tensor | None, words: str
) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        del weights[bundle.VOCABULARY]
        if pieces is not None:
            weights[bundle.VOCABULARY] = pieces

    assert words in rewritten(folder, "text", change)
