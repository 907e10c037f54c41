import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.entry_file import read_entry, write_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


def file_of(folder: Path, entry: MemoryEntry) -> Path:
    return folder / f"{entry.entry_id}.safetensors"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-10], "not a whole safetensors file"),
        (lambda data: data[:5], "not a whole safetensors file"),
        (lambda data: b"", "not a whole safetensors file"),
        (lambda data: os.urandom(len(data)), "not a whole safetensors file"),
        (lambda data: b"\x80\x04." * 100, "not a whole safetensors file"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "it was renamed or its bytes changed"),
    ],
    ids=["truncated", "stump", "empty", "garbage", "pickle", "flipped bit"],
)
def test_broken_entry_is_named_and_the_rest_loads(saved, damage, reason):
    folder, cache = saved
    path = file_of(folder, cache.entries[1])
    path.write_bytes(damage(path.read_bytes()))
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 3]
    assert len(loaded.skipped) == 1
    assert loaded.skipped[0].startswith(path.name)
    assert reason in loaded.skipped[0]


def test_missing_entry_is_named(saved):
    folder, cache = saved
    file_of(folder, cache.entries[0]).unlink()
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert "the file of turn 1 is missing" in loaded.skipped[0]


def test_foreign_files_are_named_and_skipped(saved, make_entry):
    folder, _ = saved
    save_file({"weight": torch.zeros(3)}, folder / "lora.safetensors")
    (folder / "notes.txt").write_text("hello")
    (folder / "old.ckpt").write_bytes(b"\x80\x04cos\nsystem\n.")
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert [line.split(":")[0] for line in loaded.skipped] == [
        "lora.safetensors",
        "notes.txt",
        "old.ckpt",
    ]
    assert "not a Memory-V2V entry" in loaded.skipped[0]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 99}, "has entry format 99, wanted 1; update the node pack"),
        ({"turn": "one"}, "wrong or missing [turn]"),
        ({"hook": "os.system"}, "unknown [hook]"),
    ],
)
def test_entry_of_another_format_is_named(saved, fields, reason):
    folder, cache = saved
    path = file_of(folder, cache.entries[0])
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = json.loads(header["__metadata__"]["memory_v2v_entry"])
    header["__metadata__"]["memory_v2v_entry"] = json.dumps({**metadata, **fields})
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
    (line,) = load_session(folder).skipped
    assert reason in line


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"c2w": torch.zeros(())}, "lacks the tensors c2w, or their axes"),
        ({"c2w": torch.zeros(5, 3, 4)}, r"c2w got shape (5, 3, 4), wanted (F, 4, 4)"),
        ({"latent": torch.zeros(4, 2, 6, 8, dtype=torch.uint8)}, "latent got dtype torch.uint8"),
        (
            {"latent": torch.zeros(4, 2, 6, 8, dtype=torch.float8_e4m3fn)},
            "latent got dtype torch.float8_e4m3fn",
        ),
        ({"latent": torch.zeros(4, 2, 6, 9)}, "it was renamed or its bytes changed"),
    ],
)
def test_entry_with_wrong_tensors_is_named(saved, tensors, reason):
    folder, cache = saved
    path = file_of(folder, cache.entries[0])
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({**load(path.read_bytes()), **tensors}, path, metadata)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert reason in loaded.skipped[0]


def test_entry_with_nan_is_refused(make_entry, tmp_path):
    entry = make_entry(1, latent=torch.full((4, 2, 6, 8), float("nan")))
    write_entry(tmp_path, entry)
    with pytest.raises(
        ValueError, match="latent of turn 1 got NaN or infinity in 384 of 384 numbers"
    ):
        read_entry(file_of(tmp_path, entry))


def test_entry_of_another_model_in_the_folder_is_named(saved, make_entry, tmp_path):
    folder, _ = saved
    other = make_entry(4, model_name="large")
    save_session(MemoryCache().append(other), tmp_path / "elsewhere")
    file_of(tmp_path / "elsewhere", other).replace(file_of(folder, other))
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert "holds latents of model 'small', got one of 'large'" in loaded.skipped[0]


def test_truncated_entry_is_written_again_by_the_next_save(saved):
    folder, cache = saved
    path = file_of(folder, cache.entries[1])
    path.write_bytes(path.read_bytes()[:-10])
    save_session(cache, folder)
    assert load_session(folder).skipped == ()
