import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from memv2v_core.cache.folder_lock import LOCK_NAME, FolderLock


def in_thread(call: Callable[[], None]) -> BaseException | None:
    """What `call` raises in another thread; None where it returns."""
    caught: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return caught[0] if caught else None


def take(folder: Path, timeout_s: float = 1.0) -> None:
    with FolderLock(folder, timeout_s):
        pass


def hold(folder: str, is_held: Event) -> None:
    with FolderLock(Path(folder)):
        is_held.set()
        time.sleep(60)


def test_lock_is_exclusive_and_released(tmp_path):
    with FolderLock(tmp_path):
        error = in_thread(lambda: take(tmp_path, 0.1))
    assert isinstance(error, TimeoutError)
    assert "session.lock is held by another program, waited 0.1 s, wanted it free" in str(error)
    take(tmp_path)


def test_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(KeyError), FolderLock(tmp_path):
        raise KeyError
    assert in_thread(lambda: take(tmp_path)) is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_holder_frees_the_lock_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    is_held = context.Event()
    holder = context.Process(target=hold, args=(str(tmp_path), is_held))
    holder.start()
    assert is_held.wait(60)
    assert isinstance(in_thread(lambda: take(tmp_path, 0.1)), TimeoutError)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    take(tmp_path, 0.5)


@pytest.mark.parametrize("content", ["", "123 abc"])
@pytest.mark.parametrize("name", ["session.lock", "session.lock.stale"])
def test_leftovers_of_older_versions_lock_nobody_out(tmp_path, name, content):
    """Those versions left an empty lock on a full disk, and their guard after a kill."""
    (tmp_path / name).write_text(content)
    take(tmp_path, 0.1)


@pytest.mark.parametrize("kind", ["folder", "link to itself", "dangling link"])
def test_what_stands_in_the_place_of_the_lock_is_moved_aside(tmp_path, kind):
    path = tmp_path / LOCK_NAME
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "link to itself" else tmp_path / "nothing")
    take(tmp_path, 0.1)
    assert path.is_file()
    assert [other.suffix for other in tmp_path.iterdir() if other != path] == [".broken"]


def test_a_wait_says_what_it_waits_for_and_can_be_stopped(tmp_path):
    said = []

    def stop(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt

    def wait() -> None:
        with FolderLock(tmp_path, timeout_s=30, on_wait=stop):
            pass

    with FolderLock(tmp_path):
        assert isinstance(in_thread(wait), KeyboardInterrupt)
    assert said == [
        f"waiting for another program that saves into session {tmp_path.name!r} "
        f"({tmp_path / LOCK_NAME})"
    ]


def test_lock_admits_one_of_many_threads(tmp_path):
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
