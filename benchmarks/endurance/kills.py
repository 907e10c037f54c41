"""Writers that are killed at every file operation and at random moments."""

import argparse
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from benchmarks.attack.targets.sessions import make_entry
from memv2v_core.cache.storage import load_session, save_session

from . import server_kills
from .ledger import Ledger, on_disk
from .tables import report
from .writer import fork, messages, write_until_killed

SAVE_LIMIT_S = 2.0
# A new session now and then, so that kills of a first save are among them.
_KILLS_A_SESSION = 25
# Random kills fall within this time after the writer began.
_LONGEST_LIFE_S = 0.3


@dataclass
class Tally:
    """What happened to the writers of one kind."""

    kills: int = 0
    saves: int = 0
    repaired: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=200, help="of a writer process")
    parser.add_argument("--server-kills", type=int, default=10, help="of a ComfyUI server")
    parser.add_argument("--seed", type=int, default=1)


def main(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    half = options.kills // 2
    tallies = {"at each file operation": Tally(), "at a random moment": Tally()}
    with tempfile.TemporaryDirectory(prefix="memory-v2v-kills-") as folder:
        for place, tally in enumerate(tallies.values()):
            count = options.kills - half if place else half
            _kill_writers(Path(folder) / str(place), count, bool(place), options.seed, tally)
    rows = [
        [f"writer, {name}", t.kills, t.saves, len(t.failures), t.repaired, f"{t.slowest_s:.2f}"]
        for name, t in tallies.items()
    ]
    failures = [text for tally in tallies.values() for text in tally.failures]
    if options.server_kills:
        row, more = server_kills.kill_servers(options.server_kills, options.seed)
        rows.append(row)
        failures += more
    head = ["killed", "kills", "saves", "failures", "repaired", "slowest next save, s"]
    return report("Kills: what was acknowledged is there", head, rows, failures)


def _kill_writers(root: Path, count: int, is_random: bool, seed: int, tally: Tally) -> None:
    number, ledger, folder = 1, Ledger(), root
    for idx in range(count):
        if idx % _KILLS_A_SESSION == 0:
            folder, ledger = root / f"room{idx}", Ledger()
        # A killed writer used numbers that the next one must not use again.
        number += 1000
        kill_at = 0 if is_random else idx + 1
        life_s = random.Random(f"{seed}/{idx}").uniform(0, _LONGEST_LIFE_S)
        told = _one_writer(folder, seed + idx, number, kill_at, life_s)
        tally.kills += 1
        where = f"random kill {idx}" if is_random else f"kill at operation {kill_at}"
        tally.failures += [f"{where}: {text}" for text in _learn(told, ledger, tally)]
        tally.failures += [f"{where}: {text}" for text in _check(folder, ledger, number, tally)]


def _one_writer(folder: Path, seed: int, first: int, kill_at: int, life_s: float) -> list:
    work = partial(write_until_killed, folder, seed, first, kill_at)
    pid, reading = fork(work)
    if not kill_at:
        time.sleep(life_s)
        os.kill(pid, signal.SIGKILL)
    told = messages(reading)
    os.waitpid(pid, 0)
    return told


def _learn(told: list, ledger: Ledger, tally: Tally) -> list[str]:
    """Put what the writer told into the ledger; its errors."""
    errors = []
    for word, kind, entry_id, number in told:
        if word == "error":
            errors.append(f"the writer raised {kind}: {entry_id}")
        elif word == "begin":
            ledger.doubtful = {entry_id}
        else:
            ledger.apply(kind, entry_id, number)
            ledger.doubtful = set()
            tally.saves += 1
    return errors


def _check(folder: Path, ledger: Ledger, number: int, tally: Tally) -> list[str]:
    """Problems of the session after a kill, and of the next save."""
    loaded = on_disk(folder)
    tally.repaired += bool(loaded.skipped or loaded.notices) and folder.is_dir()
    # A writer that was killed before its first save leaves no folder.
    found = ledger.problems(loaded, is_quiet=False) if folder.is_dir() else []
    ledger.settle(loaded.cache)
    entry = make_entry(number + 900)
    began_s = time.monotonic()
    save_session(loaded.cache.append(entry), folder)
    took_s = time.monotonic() - began_s
    tally.slowest_s = max(tally.slowest_s, took_s)
    if took_s > SAVE_LIMIT_S:
        found.append(f"the next save took {took_s:.1f} s, wanted at most {SAVE_LIMIT_S:g} s")
    ledger.apply("append", entry.entry_id, number + 900)
    # The save repaired the rest, so nothing is left to report.
    return [*found, *ledger.problems(load_session(folder), is_quiet=True)]
