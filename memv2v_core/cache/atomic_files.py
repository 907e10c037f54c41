"""Files that are whole or absent, and a lock between the writers of one folder. Plain calls that every system has."""

import os
import time
import uuid
from pathlib import Path
from types import TracebackType

TEMP_SUFFIX = ".tmp"
LOCK_NAME = "session.lock"
BREAKER_NAME = "session.lock.stale"
_RETRY_S = 0.05
_REPLACE_TRIES = 40


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole: written beside it under a temporary name, flushed to the disk, then renamed."""
    temp = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMP_SUFFIX}")
    try:
        with open(temp, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _replace(temp: Path, path: Path) -> None:
    """Rename over `path`. Windows refuses while somebody reads the old file, so it is tried for two seconds."""
    for _ in range(_REPLACE_TRIES - 1):
        try:
            os.replace(temp, path)
            return
        except PermissionError:
            time.sleep(_RETRY_S)
    os.replace(temp, path)


class FolderLock:
    """`with FolderLock(folder):` one writer at a time, across processes and machines that share the folder.

    The lock is a file that only one writer can create. A writer that died leaves it behind: untouched for `stale_s`
    seconds it is taken away, so a writer that works longer must `refresh()`.

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
                    f"{self.path} is held by another writer, waited {self.timeout_s:g} s, wanted it free; "
                    f"close the other program, or delete {self.path.name} if none is running"
                )
            if self._is_stale():
                self._take_away_stale()
            else:
                time.sleep(_RETRY_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_mine():
            self.path.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Say that this writer lives.

        Raises: TimeoutError when another writer took the lock away, because this one was silent for too long.
        """
        if not self._is_mine():
            raise TimeoutError(
                f"{self.path} was taken by another writer after {self.stale_s:g} s of silence; save again, "
                "on a faster disk if this repeats"
            )
        os.utime(self.path)

    def _is_mine(self) -> bool:
        try:
            return self.path.read_bytes() == self._token
        except FileNotFoundError:
            return False

    def _is_stale(self) -> bool:
        try:
            return time.time() - self.path.stat().st_mtime > self.stale_s
        except FileNotFoundError:
            return False

    def _take_away_stale(self) -> None:
        """Delete the dead writer's lock, guarded by a second lock file: else two waiters could delete a new one."""
        breaker = self.path.with_name(BREAKER_NAME)
        if not _create(breaker, self._token):
            time.sleep(_RETRY_S)
            return
        try:
            if self._is_stale():
                self.path.unlink(missing_ok=True)
        finally:
            breaker.unlink(missing_ok=True)


def _create(path: Path, content: bytes) -> bool:
    """Whether this call created the file. Windows answers PermissionError while an old one is being deleted."""
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
