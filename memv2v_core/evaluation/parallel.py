"""The same work on many scenes, in one process or in several."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(
    work: Callable[[Item], Result], items: Sequence[Item], num_workers: int = 1
) -> Iterator[Result]:
    """work(item) of every item, in order, each as soon as it and all before it are finished.

    num_workers: processes that share the items, each with its share of the CPU's threads; 1 works
    in this process. `work` and the items are pickled, so `work` is a function or an object of a
    module.

    Raises: ValueError for fewer than 1 worker.
    """
    if num_workers < 1:
        raise ValueError(f"workers got {num_workers}, wanted at least 1; raise it")
    if num_workers == 1:
        yield from map(work, items)
        return
    # Together the processes use as many threads as this one would.
    num_threads = max(1, torch.get_num_threads() // num_workers)
    # Spawned, not forked: torch's threads and a GPU do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        num_workers, context, initializer=torch.set_num_threads, initargs=(num_threads,)
    ) as pool:
        yield from pool.map(work, items)
