"""Texts, JSON and numbers of camera files, and errors that name the file."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A number by the name of its field; None where the field is missing.
NumberReader = Callable[[str], float | None]


def file_error(path: Path, got: str, wanted: str, remedy: str) -> ValueError:
    return ValueError(f"camera file {path} got {got}, wanted {wanted}; {remedy}")


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises: ValueError for an empty file and for one that is no text. FileNotFoundError.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise file_error(
            path, f"no text ({error})", "a camera file", "export the path again"
        ) from error
    if not text.strip():
        raise file_error(path, "nothing in it", "a camera path", "export the path again")
    return text


def parse_json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise file_error(
            path, f"no JSON ({error})", "a JSON camera file", "export the path again"
        ) from error


def data_lines(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers from 1, without comments; empty lines stay."""
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if not line.lstrip().startswith("#")]


def finite_numbers(words: list[Any], path: Path, where: str) -> list[float]:
    """Floats of numbers or texts.

    Raises: ValueError for other words, NaN and infinity.
    """
    try:
        numbers = [float(word) for word in words]
    except (TypeError, ValueError) as error:
        raise file_error(path, f"{where} with {error}", "numbers", "export the file again") from (
            error
        )
    # Python reads NaN and Infinity in JSON, although JSON has neither.
    if not all(map(math.isfinite, numbers)):
        raise file_error(
            path,
            f"NaN or infinity in {where}",
            "finite numbers",
            "repair or track that frame again",
        )
    return numbers


def flat(value: Any) -> list[Any]:
    """The numbers of a nested list, row by row; anything else is a list of one."""
    found, left = [], [value]
    # No recursion: a broken file may be nested deeply.
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += reversed(part)
        else:
            found.append(part)
    return found


def number_reader(fields: dict[str, Any], path: Path, where: str) -> NumberReader:
    """Reads numbers by name: positive ones, but for the image centre cx and cy.

    Raises, when called: ValueError for anything else that stands in the field.
    """

    def number(name: str) -> float | None:
        if fields.get(name) is None:
            return None
        value = fields[name]
        is_centre = name in ("cx", "cy")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or (value <= 0 and not is_centre):
            wanted = "a finite number" if is_centre else "a positive finite number"
            raise file_error(
                path, f"{name} = {value!r} for {where}", wanted, "correct it in the file"
            )
        return float(value)

    return number


def require_objects(entries: Any, path: Path, what: str) -> list[dict[str, Any]]:
    """`entries` as a list of JSON objects.

    Raises: ValueError unless it is such a list, with at least one object.
    """
    if not isinstance(entries, list) or not entries:
        got = "no frames" if entries == [] else f"{type(entries).__name__} for the frames"
        raise file_error(path, got, f"one object with {what} per frame", "export the path again")
    if not all(isinstance(entry, dict) for entry in entries):
        raise file_error(
            path,
            "frames that are no objects",
            f"one object with {what} per frame",
            "export the path again",
        )
    return entries
