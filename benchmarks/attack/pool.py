"""Worker processes that never wait for a reader that hangs, and outlive one that crashes."""

import json
import os
import queue
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devtools.environment import ROOT

from .watch import resident_bytes_of

CASE_S, PREPARE_S, POLL_S = 10.0, 180.0, 0.05
KILL_BYTES = 3 << 30


@dataclass(frozen=True)
class Result:
    """The outcome of one case."""

    target: str
    index: int
    outcome: str
    mutation: str = ""
    detail: str = ""
    seconds: float = 0.0
    mib: int = 0
    trace: str = ""


class Child:
    """One worker process, started when it is needed and again after it died."""

    def __init__(self, base: Path, seed: int) -> None:
        self._base, self._seed = base, seed
        self._process: subprocess.Popen | None = None
        self._ready: set[str] = set()
        self._broken: dict[str, str] = {}
        self._rest = b""

    def run(self, target: str, index: int) -> Result:
        """The case's outcome, also where the worker hangs, fills the memory or dies."""
        log = self._make_ready(target)
        if log:
            return Result(target, index, "crash", "the intact files cannot be read", log)
        self._send(["run", target, index])
        began_s = time.monotonic()
        told: dict[str, Any] = {}
        outcome = self._follow(CASE_S, told)
        if outcome != "done":
            self.stop()
            seconds = time.monotonic() - began_s
            detail = (
                f"the reader was stopped after {seconds:.1f} s"
                if outcome != "crash"
                else ("the process died")
            )
            return Result(target, index, outcome, told.get("started", ""), detail, seconds)
        fields = {name: told[name] for name in ("outcome", "detail", "seconds", "mib", "trace")}
        return Result(target, index, mutation=told["started"], **fields)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None
        self._ready.clear()

    def _make_ready(self, target: str) -> str:
        """The end of the worker's log where it cannot read even the intact files."""
        if target in self._broken:
            return self._broken[target]
        if self._process is None or self._process.poll() is not None:
            self._start()
        if target in self._ready:
            return ""
        self._send(["prepare", target, 0])
        told: dict[str, Any] = {}
        outcome = self._follow(PREPARE_S, told)
        if outcome != "done":
            self.stop()
            log = (self._base / "log.txt").read_text(errors="replace")[-400:]
            self._broken[target] = f"{outcome}: {log}"
            return self._broken[target]
        self._ready.add(target)
        return ""

    def _start(self) -> None:
        self.stop()
        shutil.rmtree(self._base, ignore_errors=True)
        self._base.mkdir(parents=True)
        # The rest of the environment reaches neither files nor messages.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.attack.worker", str(self._base), str(self._seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._base / "log.txt").open("wb"),
        )
        self._rest = b""

    def _send(self, order: list[Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()

    def _follow(self, limit_s: float, told: dict[str, Any]) -> str:
        """How the order ended: done, hang, memory or crash; `told` gets what the child said."""
        assert self._process is not None
        deadline = time.monotonic() + limit_s
        while True:
            while b"\n" not in self._rest:
                if time.monotonic() > deadline:
                    return "hang"
                if resident_bytes_of(self._process.pid) > KILL_BYTES:
                    return "memory"
                outcome = self._read_more()
                if outcome:
                    return outcome
            line, _, self._rest = self._rest.partition(b"\n")
            message = json.loads(line)
            if message.get("done"):
                return "done"
            told.update(message)

    def _read_more(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        if not select.select([handle], [], [], POLL_S)[0]:
            return ""
        data = os.read(handle, 1 << 16)
        self._rest += data
        return "" if data else "crash"


def run_cases(
    cases: Sequence[tuple[str, int]],
    seed: int,
    base: Path,
    num_workers: int,
    on_result: Callable[[Result], None] = lambda _result: None,
) -> list[Result]:
    """The results of all cases, in their order; several workers share them."""
    waiting: queue.SimpleQueue[tuple[int, str, int]] = queue.SimpleQueue()
    for place, (target, index) in enumerate(cases):
        waiting.put((place, target, index))
    found: dict[int, Result] = {}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        child = Child(base / f"worker{number}", seed)
        try:
            while not failures:
                try:
                    place, target, index = waiting.get_nowait()
                except queue.Empty:
                    return
                found[place] = child.run(target, index)
                on_result(found[place])
        except Exception as error:
            failures.append(error)
        finally:
            child.stop()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(num_workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [found[place] for place in sorted(found)]
