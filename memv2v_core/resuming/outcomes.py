"""Where a unit's result comes from, in words."""

from collections.abc import Iterable
from typing import Literal, get_args

Outcome = Literal["new", "kept", "stale"]


def outcome_text(outcome: Outcome, seconds: float, stale_for: str) -> str:
    """Where the result of one unit comes from.

    seconds: that this run spent on it. stale_for: why it is stale; "" where it is not.
    """
    if outcome == "kept":
        return "kept from an earlier run"
    if outcome == "stale":
        return f"stale: kept, but {stale_for}; set stale to redo to make it again"
    text = f"new, {seconds:.1f} s"
    return f"{text}, and stale: {stale_for}" if stale_for else text


def outcome_counts(outcomes: Iterable[Outcome]) -> str:
    """How many units are new, kept and stale, as in "1 new, 2 kept, 0 stale"."""
    found = list(outcomes)
    return ", ".join(f"{found.count(kind)} {kind}" for kind in get_args(Outcome))
