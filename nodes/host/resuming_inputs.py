"""Inputs of the nodes whose runs resume: Edit Long Video and Re-shoot Video."""

from collections.abc import Mapping
from typing import Any, get_args

from comfy_api.latest import io

from ...memv2v_core.resuming.settings import RedoSettings, parse_units
from ...memv2v_core.vocabulary import MemoryRange
from .shared_inputs import MAX_SEED, UNRESPONSIVE_CHOICES, UNRESPONSIVE_DEFAULT

KEEP_STALE, REDO_STALE = "keep and mark", "redo"
REDO_INPUTS = [
    io.String.Input(
        "redo",
        default="",
        tooltip="Numbers of segments to make again with other noise, such as 3 or 2,5; empty for "
        "none. Each is made once per redo_seed, however often the graph runs, and stays when you "
        "empty this field.",
    ),
    io.Int.Input(
        "redo_seed",
        default=1,
        min=0,
        max=MAX_SEED,
        advanced=True,
        tooltip="The other noise; change it for another try. The value of seed brings the first "
        "noise back.",
    ),
    io.Combo.Input(
        "stale",
        options=[KEEP_STALE, REDO_STALE],
        default=KEEP_STALE,
        advanced=True,
        tooltip="What to do with segments that saw the old edit of a segment that was made again, "
        "directly or through others: keep them and say so in the report, or make them again.",
    ),
]
TOKEN_INPUTS = [
    io.Combo.Input(
        "unresponsive",
        options=UNRESPONSIVE_CHOICES,
        default=UNRESPONSIVE_DEFAULT,
        optional=True,
        advanced=True,
        tooltip="As in Dynamic Tokenize: what happens to frames that the target hardly attends to.",
    ),
    io.Combo.Input(
        "memory_range",
        options=list(get_args(MemoryRange)),
        default="own",
        optional=True,
        advanced=True,
        tooltip="As in Dynamic Tokenize: temporal positions of memories. source may suit a base "
        "without an adapter.",
    ),
]


def redo_settings(widgets: Mapping[str, Any], num_units: int, what: str) -> RedoSettings:
    """What the widgets of `REDO_INPUTS` ask to make again.

    num_units: of the run. what: the units in words, for the error.

    Raises: ValueError for numbers that the run does not have.
    """
    return RedoSettings(
        units=parse_units(widgets["redo"], num_units, what),
        seed=widgets["redo_seed"],
        redoes_stale=widgets["stale"] == REDO_STALE,
    )
