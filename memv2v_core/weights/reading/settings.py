"""Settings from a file as a dataclass: every name, type, word and size is checked."""

import dataclasses
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from . import limits
from .boundary import Fault, quoted

Config = TypeVar("Config")

# The largest value of a setting, by its name. Others are sizes of layers.
_MOST = {
    "num_blocks": limits.MAX_BLOCKS,
    "num_layers": limits.MAX_BLOCKS,
    "num_heads": limits.MAX_HEADS,
    "in_channels": limits.MAX_CHANNELS,
    "channels": limits.MAX_CHANNELS,
    "used_channels": limits.MAX_CHANNELS,
    "size": limits.MAX_SIDE_PX,
    "num_frames": limits.MAX_FRAMES,
    "num_latent_frames": limits.MAX_FRAMES,
    "num_steps": limits.MAX_STEPS,
    "num_tokens": limits.MAX_TEXT_TOKENS,
}
# Numbers that may be 0: how far cameras moved.
_FROM_ZERO = ("sideways", "vertical", "forward")
# Texts that are sentences; others are names.
_SENTENCES = ("recipe", "data", "trained")
_NEWER = "it was made by a newer version of this pack, so update the pack"


def read_settings(kind: type[Config], values: Any) -> Config:
    """A `kind` (a dataclass) of the fields in `values`.

    Whole numbers are at least 1, other numbers finite and above 0; only lengths of moves may be 0.

    Raises: Fault naming the setting that is unknown, missing or has a wrong value.
    """
    if not isinstance(values, dict):
        raise Fault(f"has settings that are no JSON object but {quoted(values)}")
    assert dataclasses.is_dataclass(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    # Ignored settings would change results without a word.
    if unknown := sorted(set(values) - set(fields)):
        raise Fault(f"has the setting {quoted(unknown[0])}, which is unknown here", _NEWER)
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING
        if name not in values and not has_default:
            raise Fault(f"lacks the setting {name!r}")
    hints = get_type_hints(kind)
    checked = {name: _value(name, value, hints[name]) for name, value in values.items()}
    made: Any = kind
    return made(**checked)


def require_size(name: str, value: Any, most: int = limits.MAX_WIDTH) -> int:
    """`value`, a whole number from 1 to `most`.

    Raises: Fault for anything else, True and False included.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise _wrong(name, value, f"a whole number from 1 to {most}")
    return value


def _value(name: str, value: Any, hint: Any) -> Any:
    # "int | None" allows null.
    if get_origin(hint) in (Union, types.UnionType):
        inner = [each for each in get_args(hint) if each is not type(None)]
        return None if value is None else _value(name, value, inner[0])
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return read_settings(hint, value)
    if get_origin(hint) is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            raise _wrong(name, value, " or ".join(map(repr, get_args(hint))))
        return value
    if hint is int:
        return require_size(name, value, _MOST.get(name, limits.MAX_WIDTH))
    if hint is float:
        # bool is an int in Python; JSON has no NaN, and `parse_json` lets none through.
        may_be_zero = name in _FROM_ZERO
        is_number = type(value) in (int, float) and 0 <= value <= limits.MAX_WIDTH
        if not is_number or (value == 0 and not may_be_zero):
            least = "from 0" if may_be_zero else "above 0"
            raise _wrong(name, value, f"a number {least}, at most {limits.MAX_WIDTH}")
        return float(value)
    assert hint in (bool, str), f"no rule for {hint}"
    most = limits.MAX_SENTENCE_CHARS if name in _SENTENCES else limits.MAX_NAME_CHARS
    if type(value) is not hint or (hint is str and len(value) > most):
        raise _wrong(name, value, "true or false" if hint is bool else "a short text")
    return value


def _wrong(name: str, value: Any, wanted: str) -> Fault:
    return Fault(f"has {quoted(value)} for the setting {name!r}, which must be {wanted}")
