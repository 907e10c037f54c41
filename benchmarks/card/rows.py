"""The rows of the table: what is measured, and in which order.

The most important ones come first, since a run has little time.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Literal

from .networks import Weights

# native: ComfyUI's own forward of the target alone. official: ReCamMaster's code. refresh: our
# forward over all tokens. keep: the same, and clean keys and values are kept. reuse: the target
# alone, with those.
Call = Literal["native", "official", "refresh", "keep", "reuse"]
# Whose attention: ComfyUI's own order, or the fastest kernel first.
Order = Literal["fast", "own"]
# Where clean keys and values lie, and how.
Place = Literal["device", "host", "device fp8", "host fp8"]
ORDERS: tuple[Order, ...] = ("fast", "own")
PLACES: tuple[Place, ...] = ("device", "host", "device fp8", "host fp8")


@dataclass(frozen=True)
class Row:
    """One call to measure.

    base: of `networks.BASES`. memories: beside the source. is_merged: half of the frames, twice.
    """

    base: str
    call: Call
    memories: int = 0
    order: Order = "fast"
    is_merged: bool = True
    place: Place = "device"
    weights: Weights = "bf16"

    @property
    def situation(self) -> tuple[str, Weights, int, bool]:
        """What rows share inputs and kept tokens."""
        return self.base, self.weights, self.memories, self.is_merged

    @property
    def title(self) -> str:
        """The call in words."""
        if self.call == "native":
            return "target alone, ComfyUI's own forward"
        if self.call == "official":
            return "source, no memory: official ReCamMaster"
        count = "1 memory" if self.memories == 1 else f"{self.memories} memories"
        what = count if self.memories else "source, no memory"
        if self.memories:
            what += ", merged" if self.is_merged else ", whole"
        if self.call == "refresh":
            return what
        where = "" if self.place == "device" else f" ({self.place})"
        return f"{what}: {'refresh that keeps' if self.call == 'keep' else 'reuse'}{where}"


@dataclass(frozen=True)
class Result:
    """What a row gave.

    seconds, first_seconds, num_times: see `timing.Timing`. peak_bytes, estimated_bytes: of
    activations, measured and by the formula. kept_bytes, estimated_kept_bytes: of clean keys and
    values. flops, tokens: by the formula. difference: relative, of the output to the first one
    of the same network and inputs: all calls but `native` give the same output up to rounding.
    problem: why nothing was measured.
    """

    row: Row
    seconds: float | None = None
    first_seconds: float | None = None
    num_times: int = 0
    peak_bytes: int | None = None
    estimated_bytes: int | None = None
    kept_bytes: int | None = None
    estimated_kept_bytes: int | None = None
    flops: int | None = None
    tokens: int | None = None
    difference: float | None = None
    problem: str = ""

    def as_json(self) -> dict[str, object]:
        """The row with its words, and what was measured."""
        return {"title": self.row.title, **asdict(self.row), **{**asdict(self), "row": None}}


def all_rows(has_official: bool, has_gguf: bool) -> list[Row]:
    """Every row, the most important ones first, each once."""
    wanted = (
        *_essential("recammaster", has_official),
        *_places("recammaster"),
        *_pairs("lucyedit", (3, 10), ORDERS),
        *(Row("lucyedit", "native", order=order) for order in ORDERS),
        *_pairs("recammaster", (3,), ("fast",), "fp8"),
        *(_pairs("recammaster", (3,), ("fast",), "gguf") if has_gguf else ()),
        *_pairs("recammaster", (1, 6), ("fast",)),
        *_whole("recammaster", (3, 10), ("fast",)),
        *_pairs("lucyedit", (1, 6), ("fast",)),
        *_pairs("lucyedit", (3,), ("fast",), "fp8"),
        *_whole("recammaster", (3, 10), ("own",)),
        *_pairs("recammaster", (1, 6), ("own",)),
        *_whole("recammaster", (1, 6), ORDERS),
        *_whole("lucyedit", (3, 10), ORDERS),
        *_pairs("lucyedit", (1, 6), ("own",)),
    )
    return list(dict.fromkeys(wanted))


def _essential(base: str, has_official: bool) -> Iterator[Row]:
    """No memory beside official code, then ten and three memories."""
    yield from (Row(base, "refresh", order=order) for order in ORDERS)
    if has_official:
        yield from (Row(base, "official", order=order) for order in ORDERS)
    yield from _pairs(base, (10, 3), ORDERS)
    yield from (Row(base, "reuse", order=order) for order in ORDERS)
    yield from (Row(base, "native", order=order) for order in ORDERS)


def _pairs(
    base: str, counts: tuple[int, ...], orders: tuple[Order, ...], weights: Weights = "bf16"
) -> Iterator[Row]:
    """A refresh and a reuse for each number of memories."""
    for count in counts:
        for order in orders:
            yield Row(base, "refresh", count, order, weights=weights)
        for order in orders:
            yield Row(base, "reuse", count, order, weights=weights)


def _places(base: str) -> Iterator[Row]:
    calls: tuple[Call, ...] = ("keep", "reuse")
    for place, call in product(PLACES, calls):
        yield Row(base, call, 10, place=place)


def _whole(base: str, counts: tuple[int, ...], orders: tuple[Order, ...]) -> Iterator[Row]:
    for count, order in product(counts, orders):
        yield Row(base, "refresh", count, order, is_merged=False)
