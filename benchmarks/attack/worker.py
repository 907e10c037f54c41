"""The child process that changes and reads files: one case a line of its input.

Its own module so that it runs with `python -m benchmarks.attack.worker`; a crash ends it alone.
"""

import filecmp
import json
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from devtools.environment import ROOT

from .outcomes import class_of_error, class_of_reading
from .registry import target_of
from .target import Reading, Target
from .watch import Watch, forget_peak, limit_memory, obey_permissions, peak_bytes, resident_bytes

MEMORY_LIMIT = 1 << 30
ENTRY_SUFFIX = ".safetensors"
CODE_MARKERS = ("code_ran.txt",)


@dataclass(frozen=True)
class Prepared:
    """A target with its intact files and what its reader makes of them."""

    target: Target
    intact: Path
    original: Reading


class Worker:
    """Runs cases in `base`, a folder of its own.

    tell: sends a message to the parent.
    """

    def __init__(self, base: Path, seed: int, tell: Callable[..., None]) -> None:
        self._base, self._seed, self._tell = base, seed, tell
        self._prepared: dict[str, Prepared] = {}
        comfyui = os.environ.get("COMFYUI_PATH")
        self._watch = Watch((ROOT, *([Path(comfyui)] if comfyui else [])))

    def prepare(self, name: str) -> None:
        """Make the intact files of a target and read them once."""
        if name not in self._prepared:
            target = target_of(name)
            intact = self._base / "intact" / name.replace(" ", "_").replace(":", "")
            intact.mkdir(parents=True)
            target.make(intact)
            # Read from the case's folder: messages may hold its path.
            original = target.read(self._fresh_case(intact))
            self._prepared[name] = Prepared(target, intact, original)
        limit_memory()
        self._tell(ready=name)

    def run(self, name: str, index: int) -> None:
        """Change one file as (seed, target, index) say, and read it."""
        prepared = self._prepared[name]
        target = prepared.target
        rng = random.Random(f"{self._seed}/{name}/{index}")
        case = self._fresh_case(prepared.intact)
        names = set(_names(case))
        victim = rng.choice(target.victims(case))
        # In a shuffled order, so that few cases already use different ones.
        order = random.Random(f"{self._seed}/{name}").sample(
            target.mutations, len(target.mutations)
        )
        mutation = order[index % len(order)]
        what = f"{mutation.__name__}: {mutation(victim, rng)}"
        self._tell(started=what)
        touched = _touched(prepared.intact, case)
        known = [*names, *_names(case)] if target.names_any else [victim.name]
        if target.is_session:
            # A list may name an entry's file that never was there.
            known.append(ENTRY_SUFFIX)
        self._tell(**self._outcome(prepared, case, touched, known))

    def _outcome(
        self, prepared: Prepared, case: Path, touched: set[str], names: list[str]
    ) -> dict[str, Any]:
        target = prepared.target
        forget_peak()
        before, began_s = resident_bytes(), time.monotonic()
        trace = ""
        self._watch.arm(case)
        try:
            found = target.read(case)
            seen = self._watch.disarm()
            outcome, detail = class_of_reading(target, prepared.original, found, touched, names)
        except BaseException as error:
            seen = self._watch.disarm()
            outcome, detail = class_of_error(error, names), f"{type(error).__name__}: {error}"
            trace = traceback.format_exc()
        seconds, extra = time.monotonic() - began_s, peak_bytes() - before
        if extra > MEMORY_LIMIT:
            outcome = "memory"
        if seen or any((case / marker).exists() for marker in CODE_MARKERS):
            outcome, detail = "code", "; ".join(seen) or "a file that only code could make"
        return {
            "outcome": outcome,
            "detail": detail.encode("utf-8", "backslashreplace").decode()[:1500],
            "seconds": seconds,
            "mib": extra >> 20,
            "trace": trace.encode("utf-8", "backslashreplace").decode()[-4000:],
        }

    def _fresh_case(self, intact: Path) -> Path:
        case = self._base / "case"
        if case.exists():
            shutil.rmtree(case)
        shutil.copytree(intact, case)
        return case


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name not in ("room",)]


def _touched(intact: Path, case: Path) -> set[str]:
    """Keys of the values whose file is not what it was."""
    touched = set()
    for path in intact.rglob("*"):
        twin = case / path.relative_to(intact)
        if path.is_file() and not _is_same(path, twin):
            touched.add(f"entry {path.stem}")
    return touched


def _is_same(path: Path, twin: Path) -> bool:
    # Pipes and links are not opened here.
    if twin.is_symlink() or not twin.is_file() or twin.stat().st_size != path.stat().st_size:
        return False
    return os.access(twin, os.R_OK) and filecmp.cmp(path, twin, shallow=False)


def _answers(lines: TextIO, worker: Worker, tell: Callable[..., None]) -> None:
    for line in lines:
        order, name, index = json.loads(line)
        if order == "prepare":
            worker.prepare(name)
        else:
            worker.run(name, index)
        tell(done=True)


def main() -> None:
    base, seed = Path(sys.argv[1]), int(sys.argv[2])
    # The answers have a channel of their own: a library may print.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    torch.set_num_threads(1)
    obey_permissions()

    def tell(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    _answers(sys.stdin, Worker(base, seed, tell), tell)


if __name__ == "__main__":
    main()
