"""Keyframed paths as JSON text, the value of a widget: strict to read, short to write.

    {"version": 1, "curve": "ease_in_out", "speed": 1, "pivot": 1, "keyframes": [
        {"time": 0}, {"time": 1, "yaw_deg": 30, "ease": "linear"}]}

Numbers that are left out are 0, an ease that is left out is "smooth".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .keyframes import LIMITS, MAX_KEYFRAMES, NUMBERS, SMOOTH, Keyframe, KeyframedPath

VERSION = 1
MAX_CHARACTERS = 2**16
_PATH_KEYS = ("version", "keyframes", "curve", "speed", "pivot")
_KEYFRAME_KEYS = ("time", *NUMBERS, "ease")
_SHOWN = 60
_REMEDY = "edit the path in Camera Trajectory, or clear it to use the preset"


def parse_keyframes(text: str) -> KeyframedPath:
    """The path of a JSON text.

    Raises: ValueError naming the value, the limit and the remedy.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"keyframes got {len(text)} characters, wanted at most {MAX_CHARACTERS}; {_REMEDY}"
        )
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    # Too deep, or a whole number of too many digits.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"keyframes got no JSON ({error}), wanted a path; {_REMEDY}") from error
    return path_from_json(content)


def path_from_json(content: object) -> KeyframedPath:
    """The path of parsed JSON; raises as `parse_keyframes` does."""
    content = _object("keyframes", content, _PATH_KEYS)
    version = content.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise ValueError(
            f"version of the keyframes got {_shown(version)}, wanted {VERSION}; update the pack, "
            "or clear the path"
        )
    given = content.get("keyframes")
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_KEYFRAMES:
        what = f"{len(given)} of them" if isinstance(given, list) else _shown(given)
        raise ValueError(f"keyframes got {what}, wanted a list of 1 to {MAX_KEYFRAMES}; {_REMEDY}")
    keyframes = []
    for idx, item in enumerate(given):
        place = f"keyframe {idx + 1}"
        try:
            keyframes.append(_keyframe(place, item))
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(place) else f"{place}: {text}") from error
    return KeyframedPath(
        tuple(keyframes),
        _curve(content.get("curve", "linear")),
        _number("speed", content.get("speed", 1.0)),
        _number("pivot", content.get("pivot", 1.0)),
    )


def path_to_json(path: KeyframedPath) -> dict[str, Any]:
    """The path as JSON, without the numbers that are 0."""
    return {
        "version": VERSION,
        "curve": path.curve if isinstance(path.curve, str) else list(path.curve),
        "speed": path.speed,
        "pivot": path.pivot,
        "keyframes": [
            {"time": keyframe.time}
            | {name: getattr(keyframe, name) for name in NUMBERS if getattr(keyframe, name)}
            | ({} if keyframe.ease == SMOOTH else {"ease": keyframe.ease})
            for keyframe in path.keyframes
        ],
    }


def keyframes_text(path: KeyframedPath) -> str:
    """The text that `parse_keyframes` reads back to an equal path."""
    return json.dumps(path_to_json(path), separators=(",", ":"))


def number_within(name: str, value: object, limits: tuple[float, float]) -> float:
    """A number of parsed JSON.

    Raises: ValueError for what is no number, or lies outside of the limits.
    """
    low, high = limits
    # A whole number may have any length. The comparison is also false for NaN.
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    raise ValueError(
        f"{name} got {_shown(value)}, wanted a number in {low:g} to {high:g}; choose one in this "
        "range"
    )


def _keyframe(place: str, item: object) -> Keyframe:
    item = _object(place, item, _KEYFRAME_KEYS)
    if "time" not in item:
        raise ValueError(f"{place} got no time, wanted one in 0 to 1; {_REMEDY}")
    numbers = {name: _number(name, item.get(name, 0.0)) for name in ("time", *NUMBERS)}
    ease = item.get("ease", SMOOTH)
    if not isinstance(ease, str):
        raise ValueError(f"ease got {_shown(ease)}, wanted a name; leave it out for {SMOOTH!r}")
    return Keyframe(**numbers, ease=ease)


def _curve(value: object) -> str | tuple[float, float, float, float]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(
            f"curve got {_shown(value)}, wanted a name or four numbers x1, y1, x2, y2; {_REMEDY}"
        )
    x1, y1, x2, y2 = (number_within("curve", number, (0.0, 1.0)) for number in value)
    return x1, y1, x2, y2


def _number(name: str, value: object) -> float:
    return number_within(name, value, LIMITS[name])


def _object(name: str, value: object, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} got {_shown(value)}, wanted a JSON object; {_REMEDY}")
    unknown = [key for key in value if key not in keys]
    if unknown:
        raise ValueError(
            f"{name} got {_shown(unknown[0])}, wanted only {', '.join(keys)}; remove it or correct "
            "its name"
        )
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_shown(twice)} is given twice")
    return found


def _shown(value: object) -> str:
    """A value in few letters, for a message."""
    show: Callable[[object], str] = repr
    # Whole numbers of thousands of digits have no text.
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return f"a number of more than {_SHOWN} digits"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = show(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
