"""Damage on purpose: proof that the other parts notice a lost, changed or returned entry."""

import argparse
import os
import signal
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.attack.targets.sessions import make_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

from .full_disk import words_problems
from .ledger import Ledger
from .tables import report
from .writer import fork, messages, write_until_killed

NUM_ENTRIES, KILL_AT = 3, 60


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It has no options."""


def main(_options: argparse.Namespace) -> int:
    damages: dict[str, tuple[Callable[[Path, Ledger], None], str]] = {
        "nothing": (lambda _folder, _ledger: None, ""),
        "a file deleted": (_delete, "is lost"),
        "a file of the wrong content": (_wrong_number, "not bit-equal"),
        "a number changed on the disk": (_flip, "cannot be read"),
        "a forgotten turn is there": (_forgotten, "is back"),
        "a pin is gone": (_pinned, "the pin of"),
        "a stray file": (lambda folder, _ledger: _stray(folder), "reported:"),
    }
    rows: list[list[object]] = []
    failures = []
    with tempfile.TemporaryDirectory(prefix="memory-v2v-detectors-") as root:
        for name, (damage, wanted) in damages.items():
            found = _problems(Path(root) / name.replace(" ", "_"), damage)
            is_right = any(wanted in text for text in found) if wanted else not found
            rows.append(
                [name, found[0][:60] if found else "no problem", "yes" if is_right else "no"]
            )
            failures += [] if is_right else [f"{name}: wanted {wanted!r}, got {found}"]
        failures += _kill_problems(Path(root) / "killed")
    if len(words_problems("No space left on device", Path("room"))) != 2:
        failures.append("an error without folder and remedy counts as clear")
    return report("Detectors", ["damage", "first problem", "as wanted"], rows, failures)


def _problems(folder: Path, damage: Callable[[Path, Ledger], None]) -> list[str]:
    cache, ledger = MemoryCache(), Ledger()
    for number in range(1, NUM_ENTRIES + 1):
        entry = make_entry(number)
        cache = cache.append(entry)
        ledger.apply("append", entry.entry_id, number)
    save_session(cache, folder)
    damage(folder, ledger)
    return ledger.problems(load_session(folder), is_quiet=True)


def _kill_problems(folder: Path) -> list[str]:
    """Whether a writer dies at its operation, after it told of some saves."""
    pid, reading = fork(partial(write_until_killed, folder, 1, 1, KILL_AT))
    told = messages(reading)
    _, status = os.waitpid(pid, 0)
    is_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    words = [message[0] for message in told]
    is_told = words.count("done") >= 1 and "error" not in words
    return [] if is_killed and is_told else [f"the writer ended with {status} and told {told}"]


def _file(folder: Path) -> Path:
    return folder / f"{make_entry(1).entry_id}.safetensors"


def _delete(folder: Path, _ledger: Ledger) -> None:
    _file(folder).unlink()


def _wrong_number(_folder: Path, ledger: Ledger) -> None:
    ledger.entries[make_entry(1).entry_id] = 2


def _flip(folder: Path, _ledger: Ledger) -> None:
    data = bytearray(_file(folder).read_bytes())
    # The last byte belongs to a tensor.
    data[-1] ^= 1
    _file(folder).write_bytes(data)


def _forgotten(_folder: Path, ledger: Ledger) -> None:
    entry_id = make_entry(1).entry_id
    ledger.entries.pop(entry_id)
    ledger.forgotten.add(entry_id)


def _pinned(_folder: Path, ledger: Ledger) -> None:
    ledger.pinned.add(make_entry(1).entry_id)


def _stray(folder: Path) -> None:
    (folder / "stray.txt").write_text("x")
