"""Saves that fail, and readers and writers beside each other."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from memv2v_core.cache import manifest_file
from memv2v_core.cache.entry_file import is_in
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, require_savable, save_session

SHAPE = (4, 6, 8)


def turns(cache: MemoryCache) -> list[int]:
    return [entry.turn for entry in cache.entries]


# Saves


def test_a_saved_cache_reads_its_tensors_from_disk(make_entry, tmp_path):
    entry = make_entry(1)
    saved = save_session(MemoryCache().append(entry), tmp_path / "room").cache
    assert is_in(tmp_path / "room", saved.entries[0])
    assert torch.equal(saved.entries[0].latent, entry.latent)
    assert saved.entries[0].entry_id == entry.entry_id
    # Saved again, it is the same; pins and later turns follow.
    again = save_session(saved.pin(entry.entry_id).append(make_entry(2)), tmp_path / "room").cache
    assert [held.is_pinned for held in again.entries] == [True, False]


def test_a_stored_entry_is_copied_into_another_session(saved, tmp_path):
    folder, _ = saved
    old = load_session(folder).cache
    new = save_session(old, tmp_path / "attic").cache
    shutil.rmtree(folder)
    for held, wanted in zip(new.entries, (1, 2, 3), strict=True):
        assert held.turn == wanted
        assert held.problem() is None


def test_a_broken_entry_of_another_session_does_not_stop_the_others(saved, make_entry, tmp_path):
    folder, _ = saved
    cache = load_session(folder).cache
    (folder / f"{cache.entries[1].entry_id}.safetensors").unlink()
    written = save_session(cache.append(make_entry(4)), tmp_path / "attic")
    assert turns(written.cache) == [1, 3, 4]
    (notice,) = written.notices
    assert notice.startswith(f"turn 2 ({cache.entries[1].entry_id[:8]}) is not saved: ")
    loaded = load_session(tmp_path / "attic")
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 3, 4], (), ())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk of .*room is full; free some space, then run again"),
        (errno.EROFS, "room cannot be written .*start ComfyUI with another --output-directory"),
        (errno.EACCES, "room cannot be written .*give yourself the right to write there"),
        (errno.EIO, "room cannot be written .*check the disk and the folder"),
    ],
)
def test_a_save_that_fails_names_folder_and_remedy(saved, make_entry, monkeypatch, code, reason):
    folder, cache = saved

    def fail(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        patch.setattr("memv2v_core.atomic_files.RETRY_S", 0.001)
        with pytest.raises(OSError, match=f"session 'room' was not saved: .*{reason}"):
            save_session(cache.append(make_entry(4)), folder)
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 2, 3], (), ())


def test_forgetting_frees_a_full_disk(saved, monkeypatch):
    """The shorter list finds no room before the forgotten entry has made some."""
    folder, cache = saved
    dead = folder / f"{cache.entries[1].entry_id}.safetensors"
    write = manifest_file.write_atomically

    def full(path: Path, data: bytes) -> None:
        if dead.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(manifest_file, "write_atomically", full)
    assert save_session(cache.forget(cache.entries[1].entry_id), folder).notices == ()
    loaded = load_session(folder)
    assert (turns(loaded.cache), loaded.skipped, loaded.notices) == ([1, 3], (), ())


def test_forgotten_turns_leave_nothing_behind(saved, make_entry):
    """Neither the tensors nor the prompt of a forgotten turn stay on the disk."""
    folder, cache = saved
    secret = make_entry(4, prompt="the secret of the kitchen")
    cache = save_session(cache.append(secret), folder).cache
    assert any(b"secret of the kitchen" in path.read_bytes() for path in folder.iterdir())
    save_session(cache.forget(secret.entry_id), folder)
    latent = secret.latent.numpy().tobytes()
    for path in folder.rglob("*"):
        assert b"secret of the kitchen" not in path.read_bytes()
        assert latent not in path.read_bytes()
    assert not (folder / f"{secret.entry_id}.safetensors").exists()


# Before a turn


def test_a_session_that_fits_takes_a_turn(saved, tmp_path):
    folder, _ = saved
    before = sorted(folder.iterdir())
    require_savable(folder, "small", SHAPE, 1000)
    require_savable(tmp_path / "new" / "session", "large", SHAPE, 1000)
    # Nothing is left behind by the trial.
    assert sorted(folder.iterdir()) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("model_name", "shape", "reason"),
    [
        ("large", SHAPE, "session 'room' on disk holds latents of model 'small', got one of"),
        ("small", (16, 6, 8), "4 channels, 6x8 .*got one of 16 channels"),
    ],
)
def test_another_model_or_size_is_refused_before_the_turn(saved, model_name, shape, reason):
    folder, _ = saved
    with pytest.raises(ValueError, match=reason):
        require_savable(folder, model_name, shape, 1000)


def test_a_disk_without_space_is_refused_before_the_turn(saved, monkeypatch):
    folder, _ = saved
    usage = shutil.disk_usage(folder)._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    require_savable(folder, "small", SHAPE, 2**20)
    with pytest.raises(ValueError, match=r"got 3\.0 MiB of free space .*wanted 10\.0 MiB for this"):
        require_savable(folder, "small", SHAPE, 8 * 2**20)


def test_a_folder_that_cannot_be_written_is_refused_before_the_turn(saved, monkeypatch):
    folder, _ = saved

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(ValueError, match="session 'room' cannot be saved: .*give yourself the"):
        require_savable(folder, "small", SHAPE, 1000)


# Beside each other


def test_a_reader_beside_a_writer_reports_no_damage(make_entry, tmp_path):
    folder = tmp_path / "room"
    save_session(MemoryCache().append(make_entry(1)), folder)
    is_done, reports = threading.Event(), []

    def read() -> None:
        while not is_done.is_set():
            loaded = load_session(folder)
            reports.extend((*loaded.skipped, *loaded.notices))

    reader = threading.Thread(target=read)
    reader.start()
    cache = load_session(folder).cache
    for number in range(2, 40):
        cache = save_session(cache.append(make_entry(number)), folder).cache
        cache = save_session(cache.forget(cache.entries[0].entry_id), folder).cache
    is_done.set()
    reader.join()
    assert reports == []


def test_a_session_is_read_where_nobody_may_write(saved, monkeypatch):
    """A reader takes the lock only to look again; on a read-only disk it trusts the first look."""
    folder, cache = saved
    (folder / f"{cache.entries[0].entry_id}.safetensors").unlink()
    (folder / "session.lock").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    loaded = load_session(folder)
    assert turns(loaded.cache) == [2, 3]
    assert "the file of turn 1 is missing" in loaded.skipped[0]
