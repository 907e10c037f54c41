"""What stands in a file, in words that give nothing of its text away.

A workflow of a stranger chooses the file that is read. Its messages therefore name positions, kinds
and sizes; they show numbers, and texts only where a format defines them.
"""

import math
from collections.abc import Collection
from typing import Any

_MOST_SHOWN = 6


def kind_of(value: Any) -> str:
    """The value in words: a number as it is, of anything else the kind and the size."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters" if value else "an empty text"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    assert isinstance(value, dict), "JSON has no other kinds"
    return f"an object of {len(value)} fields"


def known_or_kind(value: Any, known: Collection[str]) -> str:
    """A text that the format defines, as it is; of any other value the kind."""
    return value if isinstance(value, str) and value in known else kind_of(value)


def known_keys(fields: Collection[str], known: Collection[str]) -> str:
    """The keys that the format defines, and how many others there are."""
    shown = [key for key in known if key in fields]
    num_others = len(fields) - len(shown)
    others = f"{num_others} unknown {'key' if num_others == 1 else 'keys'}"
    return ", ".join((*shown, *([others] if num_others or not shown else [])))


def listed(names: Collection[str]) -> str:
    """The first few of numbers or known names, and how many more there are."""
    shown = ", ".join(list(names)[:_MOST_SHOWN])
    left = len(names) - _MOST_SHOWN
    return f"{shown} and {left} more" if left > 0 else shown


def _number(value: int | float) -> str:
    try:
        number = float(value)
    except OverflowError:
        return f"a whole number of about {value.bit_length() * 3 // 10} digits"  # type: ignore[union-attr]  # floats do not overflow
    if not math.isfinite(number):
        return "NaN or infinity"
    return f"{number:g}"
