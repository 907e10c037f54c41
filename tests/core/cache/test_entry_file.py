import json
import os
from pathlib import Path

import pytest
import torch
from instruments.entry_files import HASHES_KEY, flip_bit, rewrite, texts_of
from safetensors.torch import save_file

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.entry_file import has_hashes, read_entry, write_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

FLOATS = ("latent", "c2w", "intrinsics", "source_latent", "source_descriptor")
TENSORS = (*FLOATS, "thumbnail", "loop")


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


def file_of(folder: Path, entry: MemoryEntry) -> Path:
    return folder / f"{entry.entry_id}.safetensors"


@pytest.fixture
def full(make_entry) -> MemoryEntry:
    """An entry with every tensor."""
    return make_entry(
        1,
        source_latent=torch.randn(4, 2, 6, 8),
        source_descriptor=torch.randn(7),
        thumbnail=torch.randint(0, 256, (4, 5, 3), dtype=torch.uint8),
        loop=torch.randint(0, 256, (50,), dtype=torch.uint8),
    )


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-10], "not a whole safetensors file"),
        (lambda data: data[:5], "not a whole safetensors file"),
        (lambda data: b"", "not a whole safetensors file"),
        (lambda data: os.urandom(len(data)), "its header states"),
        (lambda data: b"\x80\x04." * 100, "its header states"),
        (lambda data: b"\x10\0\0\0\0\0\0\0" + data[8:], "not a whole safetensors file"),
    ],
    ids=["truncated", "stump", "empty", "garbage", "pickle", "short header"],
)
def test_broken_entry_is_named_and_the_rest_loads(saved, damage, reason):
    folder, cache = saved
    path = file_of(folder, cache.entries[1])
    path.write_bytes(damage(path.read_bytes()))
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 3]
    assert loaded.skipped[0].startswith(f"{path.name}: ")
    assert reason in loaded.skipped[0]


@pytest.mark.parametrize("kind", ["folder", "link to itself", "dangling link", "pipe"])
def test_what_is_no_file_is_named_and_the_rest_loads(saved, kind):
    folder, cache = saved
    path = file_of(folder, cache.entries[1])
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else folder / "nothing")
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 3]
    assert loaded.skipped[0].startswith(f"{path.name}: ")
    # The next save of that turn puts its file back.
    assert save_session(cache, folder).notices == ()
    loaded = load_session(folder)
    assert (turns(loaded.cache), path.is_file()) == ([1, 2, 3], True)


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


# Every bit


def test_every_flipped_bit_of_a_file_is_found(full, tmp_path):
    """A bit in every second byte of the header, and in every seventh byte of the tensors."""
    write_entry(tmp_path, full)
    path = file_of(tmp_path, full)
    whole = path.read_bytes()
    num_header = 8 + int.from_bytes(whole[:8], "little")
    places = [(place, place // 2 % 8) for place in range(0, num_header, 2)]
    places += [(place, place % 8) for place in range(num_header, len(whole), 7)]
    unnoticed = []
    for place, bit in places:
        flip_bit(path, place, bit)
        try:
            entry = read_entry(path)
        except Exception:
            entry = None
        if entry is not None and entry.problem() is None:
            unnoticed.append((place, bit))
        path.write_bytes(whole)
    assert unnoticed == []


@pytest.mark.parametrize("name", TENSORS)
def test_changed_bytes_of_a_tensor_are_found_when_it_is_read(full, tmp_path, name):
    save_session(MemoryCache().append(full), tmp_path)
    path = file_of(tmp_path, full)
    value = full.content.tensors()[name]
    changed = value + 1 if name in FLOATS else value ^ 1
    rewrite(path, tensors={name: changed}, keeps_hashes=True)
    (entry,) = load_session(tmp_path).cache.entries
    reason = rf"{path.name} in .*: the bytes of its {name} changed; restore it"
    with pytest.raises(ValueError, match=reason):
        entry.camera if name in ("c2w", "intrinsics") else getattr(entry, name)
    assert f"the bytes of its {name} changed" in entry.problem()
    # Other tensors of the file are still good.
    assert torch.equal(
        entry.latent if name != "latent" else entry.source_latent,
        full.latent if name != "latent" else full.source_latent,
    )


def test_a_renamed_entry_is_named(saved):
    folder, cache = saved
    first, second = (file_of(folder, entry) for entry in cache.entries[:2])
    first.replace(second)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [3]
    assert "it was renamed: its name is not the id of its content" in loaded.skipped[0]


def test_a_file_that_vanishes_while_the_graph_runs_is_named(saved):
    folder, cache = saved
    entry = load_session(folder).cache.entries[0]
    path = file_of(folder, cache.entries[0])
    path.unlink()
    with pytest.raises(
        ValueError,
        match=rf"{path.name} in .*room: it is gone: forgotten, replaced or deleted since",
    ):
        entry.latent  # noqa: B018


def test_a_latent_is_not_kept_in_memory_and_a_camera_is(saved):
    folder, _ = saved
    entry = load_session(folder).cache.entries[0]
    first = entry.latent
    assert entry.latent is first
    place = first.data_ptr()
    copy = first.clone()
    del first
    assert torch.equal(entry.latent, copy)
    assert place != 0
    assert entry.content._seen.get("latent") is None
    assert entry.camera is entry.camera


def test_a_loop_is_read_each_time_it_is_asked_for(full, tmp_path):
    """A cache of a thousand entries must not keep a thousand loops."""
    save_session(MemoryCache().append(full), tmp_path)
    (entry,) = load_session(tmp_path).cache.entries
    assert torch.equal(entry.loop, full.loop)
    assert entry.loop is not entry.loop
    assert "loop" not in entry.content._small


def test_an_entry_without_a_loop_has_its_still(make_entry, tmp_path):
    still = torch.full((4, 5, 3), 9, dtype=torch.uint8)
    save_session(MemoryCache().append(make_entry(1, thumbnail=still)), tmp_path)
    (entry,) = load_session(tmp_path).cache.entries
    assert entry.loop is None
    assert torch.equal(entry.thumbnail, still)


# Sizes


def test_a_header_that_states_a_huge_size_is_not_read(tmp_path, make_entry):
    write_entry(tmp_path, make_entry(1))
    path = file_of(tmp_path, make_entry(1))
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ValueError, match="its header states 1099511627776 bytes, wanted at most"):
        read_entry(path)


def test_a_sparse_file_of_huge_tensors_is_refused_by_its_header(tmp_path):
    count = 2**30
    header = {
        "__metadata__": {},
        "latent": {"dtype": "F32", "shape": [4, count, 1, 1], "data_offsets": [0, 16 * count]},
        "c2w": {"dtype": "F64", "shape": [0, 4, 4], "data_offsets": [16 * count, 16 * count]},
        "intrinsics": {"dtype": "F64", "shape": [0, 3, 3], "data_offsets": [16 * count] * 2},
    }
    text = json.dumps({**header, "__metadata__": {"memory_v2v_entry": "{}"}}).encode()
    path = tmp_path / f"{'0' * 32}.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 16 * count)
    (line,) = load_session(tmp_path).skipped
    assert line.startswith(path.name)


# Files from before hashes


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"version": 99}, "has entry format 99, wanted 1; update the node pack"),
        ({"version": "<script>"}, "has entry format unknown, wanted 1; update the node pack"),
        ({"turn": "one"}, "wrong or missing [turn]"),
        ({"turn": 2**80}, "wrong or missing [turn]"),
        ({"seed": True}, "wrong or missing [seed]"),
        ({"mode": "magic"}, "wrong or missing [mode]"),
        ({"created_s": float("inf")}, "wrong or missing [created_s]"),
        ({"parent_id": "../../x"}, "wrong or missing [parent_id]"),
        ({"hook": "os.system"}, "wrong or missing [unknown names]"),
    ],
)
def test_entry_of_another_format_is_named(saved, facts, reason):
    folder, cache = saved
    rewrite(file_of(folder, cache.entries[0]), facts=facts)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert reason in loaded.skipped[0]


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"c2w": torch.zeros(())}, "its c2w has 0 axes, wanted 3"),
        ({"c2w": torch.zeros(5, 3, 4)}, "its c2w has shape (5, 3, 4) and its intrinsics"),
        ({"latent": torch.zeros(4, 2, 6, 8, dtype=torch.uint8)}, "its latent has numbers of type"),
        (
            {"latent": torch.zeros(4, 2, 6, 8, dtype=torch.float8_e4m3fn)},
            "its latent has numbers of type F8_E4M3, wanted F64, F32, BF16, F16",
        ),
        ({"latent": torch.zeros(4, 2, 6, 0)}, "its latent has 0 numbers, wanted at least 1"),
        ({"hook": torch.zeros(4)}, "has foreign tensors"),
        ({"loop": torch.zeros(4, 1, dtype=torch.uint8)}, "its loop has 2 axes, wanted 1"),
        ({"loop": torch.zeros(4)}, "its loop has numbers of type F32, wanted U8"),
        (
            {"loop": torch.zeros(2**22 + 1, dtype=torch.uint8)},
            "its loop has 4194305 numbers, wanted at least 1 and at most 4194304",
        ),
    ],
)
def test_entry_with_wrong_tensors_is_named(saved, tensors, reason):
    folder, cache = saved
    rewrite(file_of(folder, cache.entries[0]), tensors=tensors)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert reason in loaded.skipped[0]


def test_changed_latent_of_an_old_file_is_found_by_its_name(saved):
    folder, cache = saved
    rewrite(file_of(folder, cache.entries[0]), tensors={"latent": torch.zeros(4, 2, 6, 8)})
    entry = load_session(folder).cache.entries[0]
    assert "it was renamed or its bytes changed" in entry.problem()


def test_an_old_file_is_read_and_gets_hashes_by_the_next_save(saved, make_entry):
    folder, cache = saved
    for entry in cache.entries:
        rewrite(file_of(folder, entry))
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 2, 3], (), ())
    assert not any(has_hashes(entry) for entry in loaded.cache.entries)
    assert torch.equal(loaded.cache.entries[0].latent, cache.entries[0].latent)
    assert save_session(loaded.cache, folder).notices == ()
    again = load_session(folder)
    assert all(has_hashes(entry) for entry in again.cache.entries)
    for old, new in zip(cache.entries, again.cache.entries, strict=True):
        assert (old.entry_id, old.prompt) == (new.entry_id, new.prompt)
        assert torch.equal(old.latent, new.latent)


def test_a_broken_old_file_gets_no_hashes(saved):
    folder, cache = saved
    path = file_of(folder, cache.entries[0])
    rewrite(path, tensors={"latent": torch.zeros(4, 2, 6, 8)})
    before = path.read_bytes()
    save_session(load_session(folder).cache, folder)
    assert path.read_bytes() == before


def test_an_entry_without_its_hashes_key_is_no_old_file(saved):
    """A changed byte in the key must not turn the check off."""
    folder, cache = saved
    path = file_of(folder, cache.entries[0])
    rewrite(path, texts={"memory_v2v_hashez": texts_of(path)[HASHES_KEY]})
    (line,) = load_session(folder).skipped
    assert "its header has 1 unknown texts" in line


# What does not belong together


def test_entry_with_nan_is_refused(make_entry, tmp_path):
    entry = make_entry(1, latent=torch.full((4, 2, 6, 8), float("nan")))
    with pytest.raises(ValueError, match="its latent got NaN or infinity in 384 of 384 numbers"):
        write_entry(tmp_path, entry).latent  # noqa: B018


def test_entry_of_another_model_in_the_folder_is_named(saved, make_entry, tmp_path):
    folder, _ = saved
    other = make_entry(4, model_name="large")
    save_session(MemoryCache().append(other), tmp_path / "elsewhere")
    file_of(tmp_path / "elsewhere", other).replace(file_of(folder, other))
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert "holds latents of model 'small', got one of 'large'" in loaded.skipped[0]


@pytest.mark.parametrize("has_manifest", [True, False])
def test_a_changed_model_name_in_the_first_old_entry_hides_no_other(saved, has_manifest):
    folder, cache = saved
    rewrite(file_of(folder, cache.entries[0]), facts={"model_name": "smalm"})
    if not has_manifest:
        (folder / "session.json").unlink()
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert loaded.cache.model_name == "small"
    assert "holds latents of model 'small', got one of 'smalm'" in loaded.skipped[0]


def test_truncated_entry_is_written_again_by_the_next_save(saved):
    folder, cache = saved
    path = file_of(folder, cache.entries[1])
    path.write_bytes(path.read_bytes()[:-10])
    save_session(cache, folder)
    assert load_session(folder).skipped == ()
