"""A pool of things that are slow to make: scenes, or backgrounds of clips.

It holds `first` of them at step 0, and takes in a new one at every step. When it is full, each new
one replaces the oldest. Each is made from its number, when a row needs it: what a step draws
depends on nothing that an earlier step did.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from ..seeds import seeded

Item = TypeVar("Item")


class Pool(Generic[Item]):
    """make: from a generator to an item. name: of the items, part of their seeds."""

    def __init__(
        self,
        name: str,
        seed: int,
        first: int,
        size: int,
        make: Callable[[torch.Generator], Item],
    ) -> None:
        self._name, self._seed = name, seed
        self._first, self._size = min(first, size), size
        self._make = make
        self._made: dict[int, Item] = {}

    def draw(self, step: int, generator: torch.Generator, is_held_out: bool = False) -> Item:
        """A random item of those that the pool holds at `step`.

        is_held_out: an item that no pool ever holds.
        """
        newest = self._first + step
        oldest = max(0, newest - self._size)
        idx = oldest + int(torch.randint(newest - oldest, (), generator=generator))
        if is_held_out:
            return self._make(seeded(self._seed, self._name, "held out", idx))
        if idx not in self._made:
            self._made[idx] = self._make(seeded(self._seed, self._name, idx))
        # Items that left the pool are forgotten.
        for old in [number for number in self._made if number < oldest]:
            del self._made[old]
        return self._made[idx]
