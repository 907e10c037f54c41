"""The one place where a file of a session is read, and where a failure becomes a sentence.

A file may be anything: cut, overwritten, a folder, a link to itself, a pipe that never answers, or
made to harm. Whatever is wrong with it, the others must stay usable.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import safetensors

from ..atomic_files import set_aside

Result = TypeVar("Result")

_MAX_REASON, _MAX_NAME = 300, 120
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


def attempt(read: Callable[[Path], Result], path: Path) -> tuple[Result | None, str]:
    """What `read` makes of the file, or None and the reason why it cannot."""
    try:
        require_plain_file(path)
        return read(path), ""
    # Broad on purpose, and only here: no kind of damage may hide the other files.
    except Exception as error:
        return None, reason_of(error)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """A context in which every failure becomes a ValueError that names `path`."""
    try:
        require_plain_file(path)
        yield
    except Exception as error:
        raise ValueError(f"{shown_name(path.name)} in {path.parent}: {reason_of(error)}") from error


def require_plain_file(path: Path) -> None:
    """Raise ValueError unless this is a file that ends; the open of a pipe may never return."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("is a folder or a device, wanted a file; move it out of the session")


def reason_of(error: Exception) -> str:
    """The failure in one short line. Texts of other programs are cut, values are not quoted."""
    if isinstance(error, safetensors.SafetensorError):
        return "not a whole safetensors file; restore it from a backup, or make its turn again"
    if isinstance(error, FileNotFoundError):
        return "it is gone: forgotten, replaced or deleted since; make its turn again"
    if isinstance(error, RecursionError):
        return "its lists are nested too deeply, wanted plain values; make its turn again"
    if isinstance(error, MemoryError):
        return "it does not fit into the memory of this machine; close other programs"
    if isinstance(error, OSError):
        return f"it cannot be read ({error.strerror or type(error).__name__}); check the disk"
    if type(error) is ValueError:
        text = " ".join(str(error).split())
        return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}..."
    return f"its content is broken ({type(error).__name__}); make its turn again"


def shown_name(name: str) -> str:
    """A file's name in one printable line. Any program may have named it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= _MAX_NAME else f"{printable[:_MAX_NAME]}..."


def is_full_disk(error: OSError) -> bool:
    """Whether a write failed because no space is left."""
    return error.errno in _FULL_DISK


def why_unwritable(error: OSError, folder: Path) -> str:
    """Why nothing could be written to the folder, and what to do."""
    if is_full_disk(error):
        return f"the disk of {folder} is full; free some space, then run again"
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return (
            f"{folder} cannot be written ({error.strerror or error}); give yourself the right to "
            "write there, or start ComfyUI with another --output-directory"
        )
    reason = error.strerror or os.fspath(error.filename or "") or str(error)
    return f"{folder} cannot be written ({reason}); check the disk and the folder, then run again"


def make_way(path: Path) -> None:
    """Move a folder away that stands where a file of ours belongs; files are replaced."""
    if path.is_dir() and not path.is_symlink():
        set_aside(path)
