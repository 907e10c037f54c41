"""Which items are prepared, by which process, and which of them training never sees.

Everything follows from names, so every process and every later run decides alike.
"""

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..data.prepared_folder import Split
from .config import PrepareConfig
from .readers.raw import RawItem

_DIGITS = 2**64


@dataclass(frozen=True)
class Shard:
    """The share of one process: every `count`-th item from `index` on.

    Raises: ValueError for an index that is none of 0 to count - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"shard got {self.index}/{self.count}, wanted 0/{max(self.count, 1)} to "
                f"{max(self.count, 1) - 1}/{max(self.count, 1)}; count from 0"
            )

    def of(self, items: Iterable[RawItem]) -> tuple[RawItem, ...]:
        """The items of this process."""
        return tuple(items)[self.index :: self.count]


def shard_of(text: str | None) -> Shard:
    """The shard "I/N"; None takes it from `accelerate launch`, or everything.

    Raises: ValueError for another text.
    """
    if text is None:
        rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    else:
        rank, _, count = text.partition("/")
    if not rank.isdecimal() or not count.isdecimal():
        raise ValueError(f"shard got {rank}/{count}, wanted I/N, such as 0/4")
    return Shard(int(rank), int(count))


def select_items(config: PrepareConfig, items: Iterable[RawItem]) -> tuple[RawItem, ...]:
    """The items that `config` wants, in the reader's order.

    Raises: ValueError where two items have one name, and for a list of names that fits no item.
    """
    path = config.dataset.names
    listed = enumerate(items if path is None else _named(items, path))
    if config.limit is None:
        chosen = [item for _, item in listed]
    else:
        # The items of the smallest hashes are a choice by chance that more data hardly changes.
        numbered = heapq.nsmallest(
            config.limit, listed, key=lambda pair: _hash(f"{config.seed}:{pair[1].name}")
        )
        chosen = [item for _, item in sorted(numbered, key=lambda pair: pair[0])]
    _require_distinct(chosen)
    return tuple(chosen)


def split_of(name: str, held_out_share: float) -> Split:
    """Whether an item is held out: its name alone decides."""
    return "held_out" if _hash(name) < held_out_share * _DIGITS else "train"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")


def _named(items: Iterable[RawItem], path: Path) -> Iterator[RawItem]:
    """The items that the list at `path` names.

    Raises: ValueError for a list that is missing, empty, or fits no item.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"names got {path}, which cannot be read ({error})") from error
    wanted = {line for line in lines if line and not line.startswith("#")}
    count = 0
    for item in items:
        if item.name in wanted or not wanted.isdisjoint(item.aliases):
            count += 1
            yield item
    if count == 0:
        raise ValueError(
            f"{path} got {len(wanted)} names, none of them of an item; write names as "
            "`prepare --dry-run` shows them"
        )


def _require_distinct(items: Iterable[RawItem]) -> None:
    seen: dict[str, str] = {}
    for item in items:
        # Some systems do not tell A from a in a file's name.
        key = item.name.lower()
        if key in seen:
            raise ValueError(
                f"two items got the names {seen[key]} and {item.name}, which are one file; rename "
                "one of them"
            )
        seen[key] = item.name
