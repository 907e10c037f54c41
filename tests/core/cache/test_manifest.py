import hashlib
import json
import os
from pathlib import Path

import pytest
from instruments.entry_files import flip_bit

from memv2v_core.cache.manifest import MAX_FORGOTTEN
from memv2v_core.cache.manifest_file import MANIFEST_NAME, read_manifest
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


def write_as_before(folder: Path, **changes: object) -> None:
    """The manifest as the version before hashes wrote it."""
    path = folder / MANIFEST_NAME
    content = {k: v for k, v in json.loads(path.read_text()).items() if k != "sha256"}
    path.write_text(json.dumps({**content, **changes}, indent=1) + "\n")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "session.json is broken"),
        (b"\xff\xfe", "session.json is broken"),
        (b"[]", "session.json is not a Memory-V2V manifest"),
        (b"[" * 100_000, "session.json is broken (its lists are nested too deeply"),
        (b'{"entries": 1' + b"0" * 10_000 + b"}", "session.json is broken"),
        (b'{"format": "memory_v2v_session", "version": 1}', "session.json has changed bytes"),
        (b'{\n"format": "memory_v2v_session", "version": 1}', "session.json is broken"),
        (None, "session.json is missing"),
    ],
)
def test_broken_manifest_is_rebuilt_from_the_entries_and_says_so(saved, content, reason):
    folder, _ = saved
    path = folder / MANIFEST_NAME
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert len(loaded.notices) == 1
    assert loaded.notices[0].startswith(reason)
    assert loaded.notices[0].endswith(
        "order and pins of 3 entries were rebuilt from their own files"
    )


@pytest.mark.parametrize("kind", ["folder", "link to itself", "dangling link"])
def test_what_stands_in_the_place_of_the_manifest_hides_no_entry(saved, make_entry, kind):
    folder, _ = saved
    path = folder / MANIFEST_NAME
    path.unlink()
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "link to itself" else folder / "nothing")
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert loaded.notices[0].startswith("session.json is broken")
    save_session(loaded.cache.append(make_entry(4)), folder)
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.notices) == ([1, 2, 3, 4], ())


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_shape": [4]},
        {"latent_shape": [4, 1e999, 8]},
        {"latent_shape": [4, 10**400, 8]},
        {"model_name": 7},
        {"entries": {}},
        {"forgotten": [{"entry_id": "../victim", "created_s": 1.0}]},
        {"entries": [{"entry_id": "0" * 32, "turn": 1e999, "created_s": 1.0}]},
    ],
)
def test_wrong_facts_in_a_manifest_hide_no_entry(saved, changes):
    folder, _ = saved
    write_as_before(folder, **changes)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [1, 2, 3]
    assert loaded.notices[0].startswith("session.json is broken")


def test_every_flipped_bit_of_a_manifest_is_found_and_keeps_entries_and_pins(saved):
    folder, cache = saved
    save_session(cache.pin(cache.entries[1].entry_id), folder)
    path = folder / MANIFEST_NAME
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        flip_bit(path, place, place % 8)
        loaded = load_session(folder)
        assert turns(loaded.cache) == [1, 2, 3], (place, loaded)
        assert loaded.notices, place
        path.write_bytes(whole)


def test_a_changed_byte_keeps_pins_and_order(saved):
    folder, cache = saved
    save_session(cache.pin(cache.entries[1].entry_id), folder)
    path = folder / MANIFEST_NAME
    flip_bit(path, path.read_bytes().index(b'"small"') + 2)
    loaded = load_session(folder)
    assert [entry.is_pinned for entry in loaded.cache.entries] == [False, True, False]
    assert loaded.notices[0].startswith("session.json has changed bytes")


def test_a_manifest_without_a_hash_opens_as_it_is(saved):
    folder, cache = saved
    save_session(cache.pin(cache.entries[1].entry_id), folder)
    write_as_before(folder)
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 2, 3], (), ())
    assert [entry.is_pinned for entry in loaded.cache.entries] == [False, True, False]


def test_save_over_a_broken_manifest_loses_nothing_and_says_so(saved, make_entry):
    folder, _ = saved
    (folder / MANIFEST_NAME).write_bytes(b"{")
    (notice,) = save_session(MemoryCache().append(make_entry(4)), folder).notices
    assert "rebuilt from 3 entry files" in notice
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.notices) == ([1, 2, 3, 4], ())


def test_manifest_ids_cannot_leave_the_folder(saved, tmp_path):
    folder, cache = saved
    victim = tmp_path / "victim.safetensors"
    victim.write_bytes(b"x")
    write_as_before(folder, forgotten=[{"entry_id": "../victim", "created_s": 1.0}])
    (notice,) = save_session(cache, folder).notices
    assert "session.json is broken" in notice
    assert "victim" not in notice
    assert victim.exists()


def test_newer_manifest_is_refused_and_kept(saved, monkeypatch):
    folder, cache = saved
    monkeypatch.setattr("memv2v_core.cache.manifest_file._FORMAT_VERSION", 2)
    save_session(cache, folder)
    monkeypatch.undo()
    # Another process wrote it, so this one knows nothing of it.
    os.utime(folder / MANIFEST_NAME, (1, 1))
    before = (folder / MANIFEST_NAME).read_bytes()
    for call in (lambda: load_session(folder), lambda: save_session(cache, folder)):
        with pytest.raises(
            ValueError, match="has format 2, wanted at most 1; update the node pack"
        ):
            call()
    assert (folder / MANIFEST_NAME).read_bytes() == before


def test_what_was_forgotten_long_ago_is_dropped_from_the_list(make_entry, tmp_path):
    folder = tmp_path / "room"
    cache = save_session(MemoryCache().append(make_entry(1)), folder).cache
    path = folder / MANIFEST_NAME
    old = [{"entry_id": f"{i:032x}", "created_s": float(i)} for i in range(10_000)]
    write_as_before(folder, forgotten=old)
    save_session(cache.append(make_entry(2)), folder)
    manifest = read_manifest(folder).manifest
    assert len(manifest.forgotten) == MAX_FORGOTTEN
    assert manifest.forgotten[-1] == (f"{9_999:032x}", 9_999.0)
    assert path.stat().st_size < 100_000


def test_the_first_line_holds_the_hash_of_the_second(saved):
    folder, _ = saved
    first, second = (folder / MANIFEST_NAME).read_bytes().splitlines(keepends=True)
    wanted = f'{{"format":"memory_v2v_session","sha256":"{hashlib.sha256(second).hexdigest()}",\n'
    assert first.decode() == wanted
