"""Three processes that read and write one session at the same time."""

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import torch

from benchmarks.attack.targets.sessions import entry_digest, make_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

from .ledger import Ledger
from .tables import report
from .writer import fork, messages

NUM_PROCESSES, MOST_ENTRIES, SESSION = 3, 40, "shared"
KINDS = ("append", "append", "append", "load", "load", "pin", "unpin", "forget", "forget", "branch")
# A branch writes every entry into a new folder, so few of them are made.
BRANCH_SHARE = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--operations", type=int, default=2000, help="of all processes together")
    parser.add_argument("--seed", type=int, default=1)


def main(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="memory-v2v-shared-") as root:
        began_s = time.monotonic()
        told = _run_processes(Path(root), options)
        took_s = time.monotonic() - began_s
        failures = _problems(Path(root), told)
    waits: dict[str, list[float]] = defaultdict(list)
    false = Counter[str]()
    for message in told:
        if message[0] == "done":
            waits[message[1]].append(message[4])
        elif message[0] == "notice":
            false[_kind_of_notice(message[1])] += 1
            failures.append(f"a reader was told: {message[1]}")
    rows = [
        [kind, len(times), f"{sorted(times)[len(times) // 2]:.3f}", f"{max(times):.2f}"]
        for kind, times in sorted(waits.items())
    ]
    count = sum(len(times) for times in waits.values())
    rows.append(["all", count, "", f"{max(max(times) for times in waits.values()):.2f}"])
    head = ["operation", "count", "median, s", "slowest, s"]
    title = (
        f"{NUM_PROCESSES} processes in one session, {took_s:.0f} s; false notices: {dict(false)}"
    )
    return report(title, head, rows, failures)


def _run_processes(root: Path, options: argparse.Namespace) -> list[list]:
    """What all processes told."""
    children = []
    for process in range(NUM_PROCESSES):
        count = options.operations // NUM_PROCESSES + (process < options.operations % NUM_PROCESSES)
        children.append(fork(partial(_work, root, process, count, options.seed)))
    told: list[list] = []
    for pid, reading in children:
        # A pipe that is full stops its writer until it is read here; that only spreads the work.
        told += messages(reading)
        _, status = os.waitpid(pid, 0)
        if status:
            told.append(["error", "Exit", f"a process ended with {status}", 0])
    return told


def _work(root: Path, process: int, count: int, seed: int, channel: int) -> None:
    # Told in one piece at the end, so that no process waits for the parent.
    rng, lines = random.Random(f"{seed}/{process}"), []
    folder = root / SESSION
    number = 10_000 * (process + 1)
    try:
        for _ in range(count):
            number += 1
            began_s = time.monotonic()
            loaded = load_session(folder)
            # The first process finds no folder yet, which is said.
            texts = (*loaded.skipped, *(t for t in loaded.notices if "starts empty" not in t))
            lines += [["notice", text] for text in texts]
            change = _operate(rng, loaded.cache, folder, number, process)
            lines.append(["done", *change, time.monotonic() - began_s])
    finally:
        # Also after an error: what was acknowledged before it counts.
        with os.fdopen(os.dup(channel), "w") as out:
            out.write("".join(json.dumps(line) + "\n" for line in lines))


def _operate(
    rng: random.Random, cache: MemoryCache, folder: Path, number: int, process: int
) -> tuple[str, str, int]:
    """One acknowledged operation: (kind, entry id, number)."""
    kind = _kind(rng, cache)
    own = [entry for entry in cache.entries if entry.turn // 10_000 == process + 1]
    if kind in ("pin", "unpin") and not own:
        kind = "append"
    if kind == "append":
        entry = make_entry(number)
        save_session(cache.append(entry), folder)
        return kind, entry.entry_id, number
    if kind == "load":
        for entry in rng.sample(cache.entries, min(2, len(cache))):
            _read_if_kept(entry, folder)
        return kind, "", 0
    # Each process pins its own entries, so that the last word on a pin is known.
    chosen = rng.choice(own if kind in ("pin", "unpin") else cache.entries)
    if kind == "branch":
        name = f"branch{number}"
        branch = cache.branch(chosen.entry_id, name)
        try:
            save_session(branch, folder.with_name(name))
        except ValueError:
            # Another process may have forgotten an entry that the branch was about to copy.
            held = {entry.entry_id for entry in load_session(folder).cache.entries}
            if held.issuperset(entry.entry_id for entry in branch.entries):
                raise
            shutil.rmtree(folder.with_name(name), ignore_errors=True)
            return "branch, refused", chosen.entry_id, 0
        return kind, chosen.entry_id, len(branch)
    # One change of the session itself.
    changed = (
        cache.forget(chosen.entry_id)
        if kind == "forget"
        else cache.pin(chosen.entry_id, kind == "pin")
    )
    save_session(changed, folder)
    return kind, chosen.entry_id, chosen.turn


def _kind(rng: random.Random, cache: MemoryCache) -> str:
    if not cache.entries:
        return "append"
    if len(cache) > MOST_ENTRIES:
        return "forget"
    kind = rng.choice(KINDS)
    return "load" if kind == "branch" and rng.random() > BRANCH_SHARE else kind


def _read_if_kept(entry: object, folder: Path) -> None:
    """Read an entry's tensors; one that another process forgot meanwhile may be gone."""
    try:
        entry_digest(entry)
    except ValueError:
        held = {kept.entry_id for kept in load_session(folder).cache.entries}
        if entry.entry_id in held:
            raise


def _problems(root: Path, told: list[list]) -> list[str]:
    """What the sessions on disk lack, hold too much, or say."""
    failures = [f"a process raised {m[1]}: {m[2]}" for m in told if m[0] == "error"]
    ledger, last_pin = Ledger(), {}
    done = [message for message in told if message[0] == "done"]
    for _, kind, entry_id, number, _ in done:
        if kind == "append":
            ledger.apply(kind, entry_id, number)
        elif kind in ("pin", "unpin"):
            last_pin[entry_id] = kind
    # Numbers are used once, so a forgotten entry is never made again.
    for _, kind, entry_id, number, _ in done:
        if kind == "forget":
            ledger.apply(kind, entry_id, number)
    ledger.pinned = {i for i, kind in last_pin.items() if kind == "pin" and i in ledger.entries}
    failures += ledger.problems(load_session(root / SESSION), is_quiet=True)
    for folder in root.glob("branch*"):
        loaded = load_session(folder)
        failures += [f"{folder.name}: {text}" for text in (*loaded.skipped, *loaded.notices)]
        for entry in loaded.cache.entries:
            if entry_digest(entry) != entry_digest(make_entry(entry.turn)):
                failures.append(f"{folder.name}: turn {entry.turn} is not bit-equal")
    return failures


def _kind_of_notice(text: str) -> str:
    for words in ("missing", "not in session.json", "unfinished write"):
        if words in text:
            return words
    return "other"
