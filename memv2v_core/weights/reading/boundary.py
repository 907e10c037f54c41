"""The one boundary through which every file of weights is read.

Inside `reading`, whatever a broken or hostile file causes becomes one ValueError that names the
file, the content wanted and the remedy. Faults of this pack (AssertionError), interrupts and a full
GPU pass through.
"""

import json
import pickle
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from .limits import MAX_QUOTED_CHARS, MAX_REASON_CHARS

WANTED = "a file of weights"
REMEDY = "download or convert it again"
_MOST_LISTED = 16

# Classes that broken files cause, and their words. The text of such an error is never shown: it
# holds parts of the file, or another program's advice.
_WORDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (FileNotFoundError, "the file is not there"),
    (PermissionError, "the system does not allow it, or another program has it open"),
    (UnicodeError, "its names are no UTF-8 text"),
    (json.JSONDecodeError, "its description is no JSON"),
    (
        (EOFError, zipfile.BadZipFile, struct.error, pickle.PickleError),
        "it is cut short or no file of weights",
    ),
    (RecursionError, "it is nested too deeply"),
    (MemoryError, "it needs more memory than this computer has free"),
    (OSError, "the disk gives an error"),
)
_FORESEEN = (
    *(OSError, EOFError, MemoryError, ValueError),
    *(zipfile.BadZipFile, struct.error, pickle.PickleError),
)
# Any other class means a content that nobody foresaw.
_UNFORESEEN = (
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
)


class Fault(ValueError):
    """What is wrong with the file that `reading` reads now, and the remedy where it has its own."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.remedy = remedy


def quoted(value: object, most: int = MAX_QUOTED_CHARS) -> str:
    """A value from a file as one short line of printable ASCII, texts in quotes.

    Only texts, numbers and short lists of them are shown; others are named by their type.
    most: characters of the result, quotes included.
    """
    if isinstance(value, str):
        # A long text is cut before its escapes make it longer.
        text = ascii(value[:most])
        is_whole = len(text) <= most and len(value) <= most
        return text if is_whole else f"{text[: most - 4]}...{text[0]}"
    if isinstance(value, list | tuple) and len(value) <= _MOST_LISTED:
        # A list of lists may be endless: two names for one list, many times.
        if all(isinstance(each, int | float | None) for each in value):
            return one_line(value, most)
    elif isinstance(value, int | float | None):
        return one_line(value, most)
    return f"a {type(value).__name__}"


def one_line(value: object, most: int = MAX_REASON_CHARS) -> str:
    """The text of `value` on one printable line of at most `most` characters."""
    text = str(value)[: 4 * most]
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def place(path: Path) -> str:
    """The file's name and folder, as every message names it."""
    return f"{one_line(path.name, 300)} in {one_line(path.parent, 4_096)}"


@contextmanager
def reading(path: Path, wanted: str = WANTED, remedy: str = REMEDY) -> Iterator[None]:
    """A context that turns every fault of this file into one ValueError.

    wanted: the content that is wanted. remedy: what the user can do.
    """
    try:
        yield
    except Fault as fault:
        raise ValueError(
            f"{place(path)} {one_line(fault)}, wanted {wanted}; {fault.remedy or remedy}"
        ) from fault.__cause__
    except SafetensorError as error:
        # Its errors are one short sentence, as "incomplete metadata, file not fully covered".
        reason = one_line(error, MAX_QUOTED_CHARS)
        raise ValueError(_unreadable(path, reason, wanted, remedy)) from error
    except torch.cuda.OutOfMemoryError:
        raise
    except (*_FORESEEN, *_UNFORESEEN) as error:
        raise ValueError(_told(path, error, wanted, remedy)) from error


def require_file(path: Path) -> None:
    """Raise Fault for a folder, a pipe or a device; a missing file is left to its reader."""
    # A pipe would be waited for, without an end.
    if path.exists() and not path.is_file():
        raise Fault("could not be read (it is a folder or a device)")


def _told(path: Path, error: Exception, wanted: str, remedy: str) -> str:
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return _unreadable(path, words, wanted, remedy)
    # A plain ValueError comes from a check of ours: it says got, wanted and remedy already.
    if type(error) is ValueError:
        return f"{place(path)}: {one_line(error)}"
    words = f"its content does not fit: {type(error).__name__}"
    return _unreadable(path, words, wanted, remedy)


def _unreadable(path: Path, reason: str, wanted: str, remedy: str) -> str:
    return f"{place(path)} could not be read ({reason}), wanted {wanted}; {remedy}"
