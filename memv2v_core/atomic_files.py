"""Files that are whole or absent, and a lock between the writers of one folder. Plain calls that
every system has.

Windows refuses to replace, delete or open a file while another program (a reader, a backup, a virus
scanner) has it open, most often for a moment: such calls are tried for two seconds.
"""

import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

LOCK_NAME = "session.lock"
BREAKER_NAME = "session.lock.stale"
_TEMP_NAME = re.compile(r"(.+\.)?[0-9a-f]{32}\.tmp")
_RETRY_S = 0.05
_NUM_TRIES = 40

Result = TypeVar("Result")


def temp_beside(path: Path) -> Path:
    """A new name in the folder of `path`, short because Windows allows 259 characters in all."""
    return path.with_name(f"{uuid.uuid4().hex}.tmp")


def is_temp(name: str) -> bool:
    """Whether a file of this name is what a killed writer left behind."""
    return _TEMP_NAME.fullmatch(name) is not None


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole: written beside it under a temporary name, flushed to the disk,
    then renamed.

    Raises: PermissionError naming the file when another program keeps it open, or its folder takes
    no files.
    """
    temp = temp_beside(path)
    try:
        with open(temp, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temp, path)
    finally:
        remove_file(temp)


def replace_file(temp: Path, path: Path) -> None:
    """Rename `temp` over `path`.

    Raises: PermissionError naming the file when another program keeps it open.
    """
    try:
        _patiently(lambda: os.replace(temp, path))
    except PermissionError as error:
        raise PermissionError(
            f"{path} could not be replaced for {_NUM_TRIES * _RETRY_S:g} s ({error}); close the "
            "program that has it open, or give yourself the right to write there, then run again"
        ) from error


def read_file(path: Path) -> bytes:
    """The file's bytes."""
    return _patiently(path.read_bytes)


def remove_file(path: Path) -> bool:
    """Whether the file is gone now; another program may keep it open."""
    try:
        _patiently(lambda: path.unlink(missing_ok=True))
    except PermissionError:
        return False
    return True


def _patiently(call: Callable[[], Result]) -> Result:
    for _ in range(_NUM_TRIES - 1):
        try:
            return call()
        except PermissionError:
            time.sleep(_RETRY_S)
    return call()


class FolderLock:
    """`with FolderLock(folder):` one writer at a time, across processes and machines that share the
    folder.

    The lock is a file that only one writer can create. A writer that died leaves it behind:
    untouched for `stale_s` seconds it is taken away, so a writer that works longer must
    `refresh()`.

    Raises: TimeoutError when another writer keeps the lock for `timeout_s` seconds.
    """

    def __init__(self, folder: Path, stale_s: float = 60.0, timeout_s: float = 120.0) -> None:
        self.path = folder / LOCK_NAME
        self.stale_s = stale_s
        self.timeout_s = timeout_s
        self._token = f"{os.getpid()} {uuid.uuid4().hex}".encode()

    def __enter__(self) -> "FolderLock":
        deadline = time.monotonic() + self.timeout_s
        while not _create(self.path, self._token):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.path} is held by another writer, waited {self.timeout_s:g} s, wanted "
                    f"it free; close the other program, or delete {self.path.name} if none is "
                    "running"
                )
            if self._is_stale():
                self._take_away_stale()
            else:
                time.sleep(_RETRY_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mine():
            remove_file(self.path)  # one that cannot be removed is stale soon

    def refresh(self) -> None:
        """Say that this writer lives.

        Raises: TimeoutError when another writer took the lock away, because this one was silent for
        too long.
        """
        if not self._is_mine():
            raise TimeoutError(
                f"{self.path} was taken by another writer after {self.stale_s:g} s of silence; "
                "save again, on a faster disk if this repeats"
            )
        _patiently(lambda: os.utime(self.path))

    def _is_mine(self) -> bool:
        try:
            return read_file(self.path) == self._token
        except FileNotFoundError:
            return False

    def _is_stale(self) -> bool:
        try:
            return time.time() - self.path.stat().st_mtime > self.stale_s
        except (
            FileNotFoundError,
            PermissionError,
        ):  # Windows tells nothing of a file that is being deleted
            return False

    def _take_away_stale(self) -> None:
        """Delete the dead writer's lock, guarded by a second lock file: else two waiters could
        delete a new one.
        """
        breaker = self.path.with_name(BREAKER_NAME)
        if not _create(breaker, self._token):
            time.sleep(_RETRY_S)
            return
        try:
            if self._is_stale():
                remove_file(self.path)
        finally:
            remove_file(breaker)


def _create(path: Path, content: bytes) -> bool:
    """Whether this call created the file. Windows answers PermissionError while an old one is being
    deleted.
    """
    try:
        with open(path, "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    except PermissionError:
        if os.name != "nt":
            raise
        return False
    return True
