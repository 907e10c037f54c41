"""JSON out of a file: its size, depth and numbers are bounded before anything is made of it."""

import json
import math
import re
from pathlib import Path
from typing import Any

from .boundary import Fault, quoted, require_file
from .limits import MAX_JSON_BYTES, MAX_JSON_DEPTH, MAX_JSON_DIGITS, MAX_JSON_VALUES

_TEXTS = re.compile(r'"[^"]*"?')
_BRACKETS = re.compile(r"[\[\]{}]")


def parse_json(text: str, what: str, most: int = MAX_JSON_BYTES) -> Any:
    """The value of a JSON text.

    what: its name in errors. most: characters of the text.

    Raises: Fault for a text that is too long, nested too deeply, no JSON, or not what JSON allows:
    NaN, infinity, a key that stands twice.
    """
    if len(text) > most:
        raise Fault(f"has {what} of {len(text)} characters, more than {most}")
    # Texts go, so that only the structure is left; "?" takes a text without an end.
    bare = _TEXTS.sub("", text.replace("\\\\", "").replace('\\"', ""))
    if sum(bare.count(mark) for mark in ",[{") > MAX_JSON_VALUES:
        raise Fault(f"has {what} of more than {MAX_JSON_VALUES} values")
    if _depth(bare) > MAX_JSON_DEPTH:
        raise Fault(f"has {what} that is nested more than {MAX_JSON_DEPTH} times")
    try:
        return json.loads(
            text,
            parse_int=lambda digits: _whole(digits, what),
            parse_float=lambda digits: _finite(digits, what),
            parse_constant=lambda word: _finite(word, what),
            object_pairs_hook=lambda pairs: _object(pairs, what),
        )
    except json.JSONDecodeError as error:
        # Its message quotes nothing of the text.
        raise Fault(f"has {what} that is no JSON ({error.msg} at {error.pos})") from error


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The fields of a file that is one JSON object.

    Raises: Fault, as `parse_object`, and for what is no file. FileNotFoundError. UnicodeError.
    """
    require_file(path)
    with path.open("rb") as file:
        # One byte too many is enough to know that the file is too long.
        data = file.read(MAX_JSON_BYTES + 1)
    return parse_object(data.decode("utf-8-sig"), what)


def parse_object(text: str, what: str, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The fields of a JSON text that is one object.

    Raises: Fault, as `parse_json`, and for any other value.
    """
    value = parse_json(text, what, most)
    if not isinstance(value, dict):
        raise Fault(f"has {what} that is no JSON object but {quoted(value)}")
    return value


def _depth(bare: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.finditer(bare):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _whole(digits: str, what: str) -> int:
    # Python takes quadratic time to read a number of many digits.
    if len(digits) > MAX_JSON_DIGITS:
        raise Fault(f"has {what} with a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str, what: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Fault(f"has {what} with the number {quoted(digits)}, which is not finite")
    return number


def _object(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        # Readers disagree which of two equal keys counts.
        if name in fields:
            raise Fault(f"has {what} with the key {quoted(name)} twice")
        fields[name] = value
    return fields
