"""Time and memory of sessions that grow: append and load at 10, 100 and 1,000 entries."""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.attack.targets.sessions import make_entry
from benchmarks.attack.watch import forget_peak, peak_bytes, resident_bytes
from memv2v_core.cache import entry_file, manifest_file
from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import Forgotten, MemoryCache
from memv2v_core.cache.storage import load_session, save_session
from memv2v_core.cameras.trajectory import static_trajectory

from .tables import report
from .writer import fork, messages

SIZES, REPEATS, NUM_FORGOTTEN = (10, 100, 1000), 25, 10_000
NUM_LOADS = 7
# 48 channels, 21 latent frames of 60 x 104 in fp32: 25 MB, a clip of 81 frames of 832 x 480.
FULL_SHAPE = (48, 21, 60, 104)
CHUNK = 50


@dataclass(frozen=True)
class Measured:
    """Seconds (medians) of an append with its save and of a load, and the memory of the load."""

    append_s: float
    load_s: float
    kept_mib: float
    peak_mib: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="1,000 entries of 25 MB too: 26 GB")
    parser.add_argument("--most-ratio", type=float, default=1.5, help="append(1000) / append(10)")
    parser.add_argument("--most-load-s", type=float, default=5.0, help="seconds of load(1000)")


def main(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    rows: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="memory-v2v-large-") as folder:
        root = Path(folder)
        for count in SIZES:
            rows[f"{count:,} small entries"] = _measured(root / str(count), count, make_entry)
        name = f"10 small entries, {NUM_FORGOTTEN:,} forgotten"
        rows[name] = _measured(root / "forgotten", 10, make_entry, NUM_FORGOTTEN)
        rows["10 entries of 25 MB"] = _measured(root / "full10", 10, full_entry)
        if options.full:
            rows.update(_thousand_full(root))
    small = [rows[f"{count:,} small entries"] for count in SIZES]
    ratio = small[-1].append_s / small[0].append_s
    failures = []
    if ratio > options.most_ratio:
        failures.append(
            f"append(1000) / append(10) is {ratio:.1f}, wanted at most {options.most_ratio:g}"
        )
    if small[-1].load_s > options.most_load_s:
        failures.append(
            f"load(1000) takes {small[-1].load_s:.2f} s, wanted at most {options.most_load_s:g}"
        )
    head = ["session", "append, ms", "load, s", "load keeps, MiB", "load peak, MiB"]
    table = [
        [
            name,
            f"{m.append_s * 1000:.1f}",
            f"{m.load_s:.3f}",
            f"{m.kept_mib:.0f}",
            f"{m.peak_mib:.0f}",
        ]
        for name, m in rows.items()
    ]
    title = f"Large sessions; append(1000) / append(10) = {ratio:.2f}"
    return report(title, head, table, failures)


def full_entry(number: int) -> MemoryEntry:
    """An entry of a real clip's size with random numbers."""
    generator = torch.Generator().manual_seed(number)
    return MemoryEntry.of(
        latent=torch.randn(FULL_SHAPE, generator=generator),
        camera=static_trajectory(81),
        model_name="full",
        num_frames=81,
        turn=number,
        created_s=1000.0 + number,
        seed=number,
    )


def _thousand_full(root: Path) -> dict[str, Measured]:
    free = shutil.disk_usage(root).free
    if free < 40e9:
        print(f"skipped: 1,000 entries of 25 MB (the disk has {free / 1e9:.0f} GB free)")
        return {}
    return {"1,000 entries of 25 MB": _measured(root / "full1000", 1000, full_entry)}


def _measured(
    folder: Path, count: int, make: Callable[[int], MemoryEntry], num_forgotten: int = 0
) -> Measured:
    """Fill a session, then measure in a fresh process."""
    _fill(folder, count, make, num_forgotten)
    pid, reading = fork(partial(_measure, folder, count, make))
    (numbers,) = messages(reading)
    os.waitpid(pid, 0)
    shutil.rmtree(folder)
    if numbers[0] == "error":
        raise RuntimeError(f"{numbers[1]}: {numbers[2]}")
    return Measured(*numbers)


def _fill(folder: Path, count: int, make: Callable[[int], MemoryEntry], num_forgotten: int) -> None:
    cache = MemoryCache(session=folder.name)
    for start in range(1, count + 1, CHUNK):
        for number in range(start, min(start + CHUNK, count + 1)):
            cache = cache.append(make(number))
        cache = save_session(cache, folder).cache
    if num_forgotten:
        old = tuple(Forgotten(f"{idx:032x}", 1.0 + idx) for idx in range(num_forgotten))
        save_session(replace(cache, forgotten=old), folder)


def _first_load(folder: Path) -> None:
    """A load by a process that knows none of the files."""
    entry_file._known.clear()
    manifest_file._KNOWN.clear()
    load_session(folder)


def _measure(folder: Path, count: int, make: Callable[[int], MemoryEntry], channel: int) -> None:
    forget_peak()
    before = resident_bytes()
    cache = load_session(folder).cache
    assert len(cache) == count, f"{len(cache)} entries of {count} were loaded"
    kept, peak = resident_bytes() - before, peak_bytes() - before
    loads = [_seconds(partial(_first_load, folder)) for _ in range(NUM_LOADS)]
    appends = []
    for number in range(count + 1, count + 1 + REPEATS):
        entry = make(number)
        began_s = time.perf_counter()
        cache = save_session(cache.append(entry), folder).cache
        appends.append(time.perf_counter() - began_s)
    numbers = [_median(appends), _median(loads), kept / 2**20, peak / 2**20]
    os.write(channel, json.dumps(numbers).encode() + b"\n")


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
