"""A lock between the writers of one session's folder."""

import os
import time
import uuid
from pathlib import Path
from types import TracebackType

from ..atomic_files import RETRY_S, patiently, read_file, remove_file

LOCK_NAME = "session.lock"
BREAKER_NAME = "session.lock.stale"


class FolderLock:
    """`with FolderLock(folder):` lets one writer work at a time.

    It holds across processes, and across machines that share the folder. The lock is a file that
    only one writer can create. A writer that died leaves the file behind. Another writer takes it
    away after `stale_s` seconds without a change, so a writer that works longer must call
    `refresh()`.

    Raises: TimeoutError when another writer keeps the lock for `timeout_s` seconds.
    """

    def __init__(self, folder: Path, stale_s: float = 60.0, timeout_s: float = 120.0) -> None:
        self.path = folder / LOCK_NAME
        self.stale_s = stale_s
        self.timeout_s = timeout_s
        # Names this writer, so that it never removes the lock of another.
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
                time.sleep(RETRY_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mine():
            # A lock file that cannot be removed now is stale soon.
            remove_file(self.path)

    def refresh(self) -> None:
        """Show that this writer is alive.

        Raises: TimeoutError when another writer took the lock away because this writer was silent
        for too long.
        """
        if not self._is_mine():
            raise TimeoutError(
                f"{self.path} was taken by another writer after {self.stale_s:g} s of silence; "
                "save again, on a faster disk if this repeats"
            )
        patiently(lambda: os.utime(self.path))

    def _is_mine(self) -> bool:
        # The content decides: another writer may have taken the lock away and made its own.
        try:
            return read_file(self.path) == self._token
        except FileNotFoundError:
            return False

    def _is_stale(self) -> bool:
        try:
            return time.time() - self.path.stat().st_mtime > self.stale_s
        except (FileNotFoundError, PermissionError):
            # Windows refuses all questions about a file that is being deleted.
            return False

    def _take_away_stale(self) -> None:
        """Delete the dead writer's lock.

        A second lock file guards the deletion: without it, two waiters could delete a new lock.
        """
        breaker = self.path.with_name(BREAKER_NAME)
        if not _create(breaker, self._token):
            time.sleep(RETRY_S)
            return
        try:
            # Asked again: another waiter may have replaced the lock since.
            if self._is_stale():
                remove_file(self.path)
        finally:
            remove_file(breaker)


def _create(path: Path, content: bytes) -> bool:
    """Whether this call created the file.

    Windows answers PermissionError while an old file of this name is being deleted.
    """
    try:
        # Mode "x" is the lock: the system lets one caller create a name.
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    except PermissionError:
        if os.name != "nt":
            raise
        return False
    return True
