"""A lock between the writers of one session's folder."""

import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import filelock

from ..atomic_files import RETRY_S, set_aside

LOCK_NAME = "session.lock"
_FIRST_WAIT_S = 1.0
_WAIT_S = 0.5

OnWait = Callable[[str], None]


class FolderLock:
    """`with FolderLock(folder):` lets one writer work at a time.

    The operating system holds the lock, and frees it when its process ends in whatever way. It
    holds across processes, and across machines where the disk supports locks. The empty lock file
    stays in the folder and means nothing by itself.

    on_wait: called with a sentence that says what is waited for, after a second and then twice a
    second; it may raise to stop the wait. The first sentence is logged.

    Raises: TimeoutError when another writer keeps the lock for `timeout_s` seconds. OSError when
    the folder takes no files.
    """

    def __init__(
        self, folder: Path, timeout_s: float = 120.0, on_wait: OnWait | None = None
    ) -> None:
        self.path = folder / LOCK_NAME
        self.timeout_s = timeout_s
        self.on_wait = on_wait
        self._lock = filelock.FileLock(self.path)

    def __enter__(self) -> "FolderLock":
        # A folder or a link of this name would refuse every lock.
        if self.path.is_symlink() or (self.path.exists() and not _is_file(self.path)):
            set_aside(self.path)
        deadline = time.monotonic() + self.timeout_s
        wait_s, is_first = min(_FIRST_WAIT_S, self.timeout_s), True
        while True:
            try:
                self._lock.acquire(timeout=wait_s, poll_interval=RETRY_S)
                return self
            except filelock.Timeout as error:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(
                        f"{self.path} is held by another program, waited {self.timeout_s:g} s, "
                        "wanted it free; close the other ComfyUI or script that saves into this "
                        "session, then run again"
                    ) from error
                self._say(is_first)
                wait_s, is_first = min(_WAIT_S, left_s), False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def _say(self, is_first: bool) -> None:
        text = (
            f"waiting for another program that saves into session {self.path.parent.name!r} "
            f"({self.path})"
        )
        if is_first:
            logging.info("Memory-V2V: %s", text)
        if self.on_wait is not None:
            self.on_wait(text)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
