import os
import threading
import time
from pathlib import Path

import pytest
from instruments.blocked_files import blocked_twice

from memv2v_core import atomic_files
from memv2v_core.cache.folder_lock import BREAKER_NAME, LOCK_NAME, FolderLock


def test_a_lock_that_cannot_be_removed_does_not_stop_the_work(tmp_path, monkeypatch):
    def blocked(*_: object, **__: object) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(atomic_files, "RETRY_S", 0.001)
    with monkeypatch.context() as patch, FolderLock(tmp_path) as lock:
        patch.setattr(Path, "unlink", blocked)
    os.utime(lock.path, (1, 1))
    with FolderLock(tmp_path, timeout_s=1):
        assert lock.path.exists()
    assert not lock.path.exists()


@pytest.mark.skipif(os.name == "nt", reason="pretends to be Windows")
def test_a_lock_that_is_being_deleted_is_waited_for(tmp_path, monkeypatch):
    """Windows refuses to create a file whose old one somebody still has open."""
    monkeypatch.setattr("builtins.open", blocked_twice(open))
    monkeypatch.setattr(os, "name", "nt")
    lock = FolderLock(tmp_path).__enter__()
    monkeypatch.undo()
    assert lock.path.exists()


def test_lock_is_exclusive_and_released(tmp_path):
    waited = r"session.lock is held by another writer, waited 0.1 s"
    with FolderLock(tmp_path), pytest.raises(TimeoutError, match=waited):
        FolderLock(tmp_path, timeout_s=0.1).__enter__()
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
