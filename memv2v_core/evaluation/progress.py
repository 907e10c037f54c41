"""Says how far a long loop is."""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def told(items: Sequence[Item], log: logging.Logger, name: str, unit: str = "") -> Iterator[Item]:
    """The items; after each a line with the number done and the time left.

    name: of the work. unit: what an item is called.
    """
    start = time.monotonic()
    of = f"{unit} " if unit else ""
    for done, item in enumerate(items, 1):
        yield item
        left = (time.monotonic() - start) / done * (len(items) - done)
        log.info("%s: %s%d of %d, about %.0f s left", name, of, done, len(items), left)
