"""Files that are whole or absent. Only plain calls that every system has.

Windows refuses to replace, delete or open a file while another program (a reader, a backup, a virus
scanner) has it open, usually for a moment. Such calls are therefore tried again there for two
seconds.
"""

import errno
import os
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Seconds between two tries.
RETRY_S = 0.05
# The ending of what stood in our way, see `set_aside`.
ASIDE_SUFFIX = ".broken"
_ASIDE_DIGITS = 8
TEMP_SUFFIX = ".tmp"
_TEMP_NAME = re.compile(r"(.+\.)?[0-9a-f]{32}\.tmp")
# Elsewhere a refusal is a matter of rights, and stays.
_NUM_TRIES = 40 if os.name == "nt" else 3

Result = TypeVar("Result")
# Inode, times of content and of the file in ns, and bytes.
Stamp = tuple[int, int, int, int]


def temp_beside(path: Path) -> Path:
    """A new name in the folder of `path`. It is short: Windows allows 259 characters per path."""
    return path.with_name(f"{uuid.uuid4().hex}{TEMP_SUFFIX}")


def is_temp(name: str) -> bool:
    """Whether this is the name of a file that a killed writer left behind."""
    # The ending first: a folder of a thousand turns has few files of this kind.
    return name.endswith(TEMP_SUFFIX) and _TEMP_NAME.fullmatch(name) is not None


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` at `path` as a whole file that outlives a power cut.

    Raises: PermissionError naming the file when another program keeps it open, or when its folder
    takes no files.
    """
    # The temporary file lies in the same folder, so the rename never crosses a disk.
    temp = temp_beside(path)
    try:
        with temp.open("xb") as file:
            file.write(data)
            file.flush()
            # The bytes reach the disk before the name does: a power cut leaves no empty file.
            os.fsync(file.fileno())
        replace_file(temp, path)
    finally:
        remove_file(temp)


def replace_file(temp: Path, path: Path) -> None:
    """Rename `temp` over `path`, for good.

    Raises: PermissionError naming the file when another program keeps it open.
    """
    try:
        patiently(lambda: temp.replace(path))
    except PermissionError as error:
        raise PermissionError(
            f"{path} could not be replaced for {_NUM_TRIES * RETRY_S:g} s ({error}); close the "
            "program that has it open, or give yourself the right to write there, then run again"
        ) from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names in the folder outlive a power cut.

    Windows offers no such call; it writes names in order by itself.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some shares know no fsync of a folder. The file itself is safe.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make the folder and the folders above it, for good."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def set_aside(path: Path) -> Path:
    """The new name of a file, folder or link that stood where a file of ours belongs.

    Nothing is deleted: the user may want to look at it.
    """
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:_ASIDE_DIGITS]}{ASIDE_SUFFIX}")
    path.rename(aside)
    return aside


def read_file(path: Path) -> bytes:
    """The file's bytes."""
    return patiently(path.read_bytes)


def stamp_of(path: str | Path) -> Stamp | None:
    """What tells two files of one name apart, as every write makes a new file; None where none is.

    path: as text where there are many: a Path for each would take longer.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - see path
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def remove_file(path: Path) -> bool:
    """Whether the file is gone now.

    False when another program keeps it open, and for a folder.
    """
    # A file that is already gone is as good as removed.
    try:
        patiently(lambda: path.unlink(missing_ok=True))
    except (PermissionError, IsADirectoryError):
        return False
    return True


def patiently(call: Callable[[], Result]) -> Result:
    """The result of `call`, which is tried again while another program keeps its file open."""
    for _ in range(_NUM_TRIES - 1):
        try:
            return call()
        except PermissionError:
            time.sleep(RETRY_S)
    # The last try lets its error out.
    return call()
