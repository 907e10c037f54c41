"""Texts, JSON and numbers of camera files, and errors that name the file."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from .found import kind_of
from .limits import MAX_FRAMES, MAX_JSON_BYTES, MAX_LINES, MAX_TEXT_BYTES, MAX_VALUES

_MOST_PATH = 240


class NumberReader(Protocol):
    """A number by the name of its field; None where the field is missing."""

    def __call__(self, name: str) -> float | None: ...


def file_error(path: Path, got: str, wanted: str, remedy: str) -> ValueError:
    """The error of every camera file.

    got: without any text of the file; `found` has the words for what stands there.
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    # The end of a path says most.
    shown = shown if len(shown) <= _MOST_PATH else f"...{shown[-_MOST_PATH:]}"
    return ValueError(f"camera file {shown} got {got}, wanted {wanted}; {remedy}")


def require_file(path: Path) -> None:
    """Raise ValueError unless this is a file: pipes and devices have no end."""
    if not path.is_file():
        got = "no file of this name" if not path.exists() else "a folder or a device"
        raise file_error(path, got, "a camera file", "put it back, or choose another one")


def unreadable(path: Path, error: OSError) -> ValueError:
    return file_error(
        path,
        f"no content ({error.strerror})",
        "a file that can be read",
        "allow ComfyUI to read it, or copy it again",
    )


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises: ValueError for a file that cannot be read, is too large, empty, or no text.
    """
    require_file(path)
    limit = MAX_JSON_BYTES if path.suffix == ".json" else MAX_TEXT_BYTES
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Not more than the limit, even if another program makes the file longer meanwhile.
            data = b"" if size > limit else file.read(size)
    except OSError as error:
        raise unreadable(path, error) from error
    if size > limit:
        _refuse_size(path, size, limit)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        got = f"no text (byte {error.start + 1} is not UTF-8)"
        raise file_error(path, got, "a camera file", "export the path again") from None
    if not text.strip():
        raise file_error(path, "nothing in it", "a camera path", "export the path again")
    return text


def parse_json(text: str, path: Path) -> Any:
    """The content of a JSON file.

    Raises: ValueError with the place of the fault.
    """
    if len(text) > MAX_JSON_BYTES:
        _refuse_size(path, len(text), MAX_JSON_BYTES)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        # Without the words of Python's errors, which may quote the file and also reach the log.
        fault = f"a fault in line {error.lineno}, column {error.colno}"
    except RecursionError:
        fault = "lists nested too deeply"
    except ValueError:
        fault = "a whole number of thousands of digits"
    got = f"no JSON ({fault})"
    raise file_error(path, got, "a JSON camera file", "export the path again")


def data_lines(text: str, path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without comments; empty lines stay.

    Raises: ValueError for too many lines.
    """
    start = number = 0
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    # One line at a time: a list of all of them may need forty times the file.
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line, start, number = text[start:end].strip(), end + 1, number + 1
        if number > MAX_LINES:
            raise file_error(
                path,
                f"more than {MAX_LINES} lines",
                f"at most {MAX_LINES}",
                "keep the lines of one clip's cameras",
            )
        if not line.startswith("#"):
            yield number, line


def require_count(count: int, path: Path, what: str = "cameras") -> None:
    """Raise ValueError where a file has more cameras or frames than any clip."""
    if count > MAX_FRAMES:
        raise file_error(
            path, f"{count} {what}", f"at most {MAX_FRAMES}", "export the cameras of one clip"
        )


def finite_numbers(words: list[Any], path: Path, where: str) -> list[float]:
    """Floats of numbers or texts.

    Raises: ValueError for other words, NaN and infinity.
    """
    numbers = []
    for place, word in enumerate(words, start=1):
        try:
            number = float(word)
        except (TypeError, ValueError, OverflowError):
            got = f"{kind_of(word)} as value {place} of {where}"
            # Python's error quotes the word, and the log shows causes.
            raise file_error(path, got, "numbers", "export the file again") from None
        # Python reads NaN and Infinity in JSON, although JSON has neither.
        if not math.isfinite(number):
            raise file_error(
                path,
                f"NaN or infinity in {where}",
                "finite numbers",
                "repair or track that frame again",
            )
        numbers.append(number)
    return numbers


def flat(value: Any, path: Path, where: str) -> list[Any]:
    """The numbers of a nested list, row by row; anything else is a list of one.

    Raises: ValueError for more than any matrix has.
    """
    found, left, num_lists = [], [value], 0
    # No recursion: a broken file may be nested deeply.
    while left:
        part = left.pop()
        if isinstance(part, list):
            num_lists += 1
            left += reversed(part[: MAX_VALUES + 1])
        else:
            found.append(part)
        if max(num_lists, len(found) + len(left)) > MAX_VALUES:
            raise file_error(
                path,
                f"more than {MAX_VALUES} values or lists in {where}",
                "the numbers of one matrix or vector",
                "export the file again",
            )
    return found


def number_reader(fields: Mapping[str, Any], path: Path, where: str) -> NumberReader:
    """Reads numbers by name: positive ones, but for the image centre cx and cy.

    Raises, when called: ValueError for anything else that stands in the field.
    """

    def number(name: str) -> float | None:
        value = fields.get(name)
        if value is None:
            return None
        is_centre = name in ("cx", "cy")
        found = _finite(value)
        if found is None or (found <= 0 and not is_centre):
            wanted = "a finite number" if is_centre else "a positive finite number"
            raise file_error(
                path, f"{name} = {kind_of(value)} for {where}", wanted, "correct it in the file"
            )
        return found

    return number


def require_objects(entries: Any, path: Path, what: str) -> list[dict[str, Any]]:
    """`entries` as a list of JSON objects.

    Raises: ValueError unless it is such a list, with at least one object and not too many.
    """
    wanted, remedy = f"one object with {what} per frame", "export the path again"
    if not isinstance(entries, list) or not entries:
        got = "no frames" if entries == [] else f"{kind_of(entries)} for the frames"
        raise file_error(path, got, wanted, remedy)
    require_count(len(entries), path)
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise file_error(
                path, f"frames that are no objects ({kind_of(entry)} as {place})", wanted, remedy
            )
    return entries


def _finite(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _refuse_size(path: Path, size: int, limit: int) -> None:
    raise file_error(
        path, f"{size} bytes", f"at most {limit}", "export the cameras of one clip alone"
    )
