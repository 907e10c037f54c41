import os
import threading
import time
from pathlib import Path

import pytest

from memv2v_core import atomic_files
from memv2v_core.atomic_files import (
    BREAKER_NAME,
    LOCK_NAME,
    FolderLock,
    is_temp,
    read_file,
    remove_file,
    temp_beside,
    write_atomically,
)


def test_write_replaces_whole_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_failed_rename_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")

    def fail(*_: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no power"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"


def test_rename_is_tried_again_while_a_reader_blocks_it(tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def blocked_twice(old: object, new: object) -> None:
        calls.append(new)
        if len(calls) < 3:
            raise PermissionError("in use")
        replace(old, new)

    monkeypatch.setattr(os, "replace", blocked_twice)
    write_atomically(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(calls) == 3


def test_a_file_that_stays_blocked_is_named_with_the_remedy_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")

    def blocked(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(atomic_files, "_RETRY_S", 0.001)
    monkeypatch.setattr(os, "replace", blocked)
    monkeypatch.setattr(Path, "unlink", blocked)
    with pytest.raises(
        PermissionError, match=r"a\.json could not be replaced .*close the program that has it open"
    ):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    (left,) = [file.name for file in tmp_path.iterdir() if file != path]
    assert is_temp(left)


def test_a_file_is_read_and_removed_once_another_program_lets_go(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"x")
    monkeypatch.setattr(atomic_files, "_RETRY_S", 0.001)
    for name in ("read_bytes", "unlink"):
        monkeypatch.setattr(Path, name, _blocked_twice(getattr(Path, name)))
    assert read_file(path) == b"x"
    assert remove_file(path) and not path.exists()
    assert remove_file(path)


def _blocked_twice(method):
    calls = []

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) < 3:
            raise PermissionError("in use")
        return method(*args, **kwargs)

    return call


def test_temporary_names_leave_room_for_long_folders(tmp_path):
    """Windows allows 259 characters in all."""
    temp = temp_beside(tmp_path / f"{'0' * 32}.safetensors")
    assert is_temp(temp.name) and len(temp.name) <= 36
    assert is_temp(f"session.json.{'0' * 32}.tmp") and not is_temp("notes.tmp")


def test_a_lock_that_cannot_be_removed_does_not_stop_the_work(tmp_path, monkeypatch):
    def blocked(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(atomic_files, "_RETRY_S", 0.001)
    with monkeypatch.context() as patch:
        with FolderLock(tmp_path) as lock:
            patch.setattr(Path, "unlink", blocked)
    os.utime(lock.path, (1, 1))
    with FolderLock(tmp_path, timeout_s=1):
        assert lock.path.exists()
    assert not lock.path.exists()


@pytest.mark.skipif(os.name == "nt", reason="pretends to be Windows")
def test_a_lock_that_is_being_deleted_is_waited_for(tmp_path, monkeypatch):
    """Windows refuses to create a file whose old one somebody still has open."""
    monkeypatch.setattr("builtins.open", _blocked_twice(open))
    monkeypatch.setattr(os, "name", "nt")
    lock = FolderLock(tmp_path).__enter__()
    monkeypatch.undo()
    assert lock.path.exists()


def test_lock_is_exclusive_and_released(tmp_path):
    with (
        FolderLock(tmp_path),
        pytest.raises(TimeoutError, match=r"session.lock is held by another writer, waited 0.1 s"),
    ):
        with FolderLock(tmp_path, timeout_s=0.1):
            pass
    assert not (tmp_path / LOCK_NAME).exists()
    with FolderLock(tmp_path, timeout_s=0.1):
        pass


def test_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyError), FolderLock(tmp_path):
        raise KeyError
    assert not (tmp_path / LOCK_NAME).exists()


def test_stale_lock_is_taken_away(tmp_path):
    lock = tmp_path / LOCK_NAME
    lock.write_text("a dead process")
    long_ago = time.time() - 100
    os.utime(lock, (long_ago, long_ago))
    with FolderLock(tmp_path, stale_s=60, timeout_s=1):
        assert lock.read_text() != "a dead process"
    assert not (tmp_path / BREAKER_NAME).exists()


def test_writer_whose_lock_was_taken_is_told_and_leaves_the_new_one(tmp_path):
    with FolderLock(tmp_path) as lock:
        lock.refresh()
        lock.path.write_text("another writer")
        with pytest.raises(
            TimeoutError, match="was taken by another writer after 60 s of silence; save again"
        ):
            lock.refresh()
    assert lock.path.read_text() == "another writer"


def test_lock_admits_one_of_many_threads_also_from_a_stale_one(tmp_path):
    (tmp_path / LOCK_NAME).write_text("a dead process")
    os.utime(tmp_path / LOCK_NAME, (1, 1))
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with FolderLock(tmp_path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
