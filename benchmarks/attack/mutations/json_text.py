"""Changes of a JSON text that keep it JSON: a value, a key or a whole branch is replaced."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

_RAW, _TWICE = "@raw@", "@twice@"
# Texts, since json.dumps writes neither deep lists nor numbers above the range of floats.
_RAW_VALUES = {
    "null": "null",
    "an empty text": '""',
    "lists 10,000 deep": "[" * 10_000 + "]" * 10_000,
    "1e999": "1e999",
    "-1e999": "-1e999",
    "NaN": "NaN",
    "-1": "-1",
    "0": "0",
    "0.5": "0.5",
    "a huge integer": "9" * 400,
    "2**63": str(2**63),
    "10**9": str(10**9),
    "5,000 digits": "1" * 5000,
    "true": "true",
    "a path": '"../../../../etc/passwd"',
    "a long text": '"' + "x" * 100_000 + '"',
    "lines": '"one\\ntwo\\nthree"',
    "a surrogate": '"\\ud800"',
    "a zero character": '"a\\u0000b"',
    "an empty list": "[]",
    "an empty object": "{}",
    "a list of objects": "[{}, {}]",
}


def change_json(path: Path, rng: Random) -> str:
    """One change of a JSON file."""
    text, what = changed_json(path.read_text(encoding="utf-8"), rng)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return what


def changed_json(text: str, rng: Random) -> tuple[str, str]:
    """The JSON text after one change, and the change in words."""
    content = json.loads(text)
    places = list(_places(content))
    if not places:
        return "[]", "replaced by []"
    change = rng.choice((_replace, _replace, _replace, _remove, _rename, _duplicate, _swap))
    return change(content, places, rng)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value, branches included."""
    items = ()
    if isinstance(value, dict):
        items = tuple(value.items())
    elif isinstance(value, list):
        items = tuple(enumerate(value))
    for key, part in items:
        yield value, key
        yield from _places(part)


def _replace(content: Any, places: list, rng: Random) -> tuple[str, str]:
    holder, key = rng.choice(places)
    name = rng.choice(sorted(_RAW_VALUES))
    holder[key] = _RAW
    return json.dumps(content).replace(f'"{_RAW}"', _RAW_VALUES[name]), f"{key!r} is {name}"


def _remove(content: Any, places: list, rng: Random) -> tuple[str, str]:
    holder, key = rng.choice(places)
    del holder[key]
    return json.dumps(content), f"{key!r} removed"


def _rename(content: Any, places: list, rng: Random) -> tuple[str, str]:
    holder, key = rng.choice(places)
    if not isinstance(holder, dict):
        return _remove(content, [(holder, key)], rng)
    holder[f"{key}_x"] = holder.pop(key)
    return json.dumps(content), f"{key!r} renamed"


def _duplicate(content: Any, places: list, rng: Random) -> tuple[str, str]:
    holder, key = rng.choice(places)
    if isinstance(holder, list):
        holder.insert(key, holder[key])
        return json.dumps(content), f"item {key} twice"
    # JSON allows a key twice, and the last one counts.
    holder[_TWICE] = None
    text = json.dumps(content).replace(f'"{_TWICE}"', json.dumps(key))
    return text, f"{key!r} twice, the second null"


def _swap(content: Any, places: list, rng: Random) -> tuple[str, str]:
    """The values of two places exchanged."""
    first, second = rng.choice(places), rng.choice(places)
    a, b = first[0][first[1]], second[0][second[1]]
    # A branch cannot be put into itself, so only leaves move.
    if isinstance(a, dict | list) or isinstance(b, dict | list):
        return _replace(content, places, rng)
    first[0][first[1]], second[0][second[1]] = b, a
    return json.dumps(content), f"{first[1]!r} and {second[1]!r} exchanged"
