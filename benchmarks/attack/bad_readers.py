"""Readers with one known fault each: the proof that each class of outcome is detected."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from .mutations.places import SECRET
from .target import Reading, Report, Target

FILE = "a.txt"
INTACT = Reading({"entry a": "1", "entry b": "2"})


def make(folder: Path) -> None:
    (folder / FILE).write_text("intact")


def change(path: Path, _rng: Random) -> str:
    path.write_text("changed")
    return "changed"


def _is_changed(folder: Path) -> bool:
    return (folder / FILE).read_text() == "changed"


def _raises(error: BaseException) -> Reading:
    raise error


def _connects() -> Reading:
    with socket.socket() as probe:
        probe.connect_ex(("127.0.0.1", 9))
    return INTACT


def _writes_outside() -> Reading:
    (Path(tempfile.gettempdir()) / "memory_v2v_outside.txt").write_text("x")
    return INTACT


def _runs(command: str) -> Reading:
    subprocess.run([sys.executable, "-c", command], check=False)
    return INTACT


def _fills(num_bytes: int) -> Reading:
    filled = bytearray(b"x") * num_bytes
    return Reading({**INTACT.value, "size": str(len(filled))})


def _reports(text: str, **value: str) -> Reading:
    return Reading({**INTACT.value, **value}, (Report("report", text),))


# What each reader does with a changed file, by the class that it belongs to.
FAULTS: dict[str, Callable[[], Reading]] = {
    "equal": lambda: INTACT,
    "refused": lambda: _raises(ValueError(f"{FILE} got 1, wanted 2; make it again")),
    "silent": lambda: Reading({**INTACT.value, "entry a": "9"}),
    "bare": lambda: _raises(ValueError(f"{FILE} is broken")),
    "leak": lambda: _raises(ValueError(f"{FILE} holds {SECRET}; make it again")),
    "unnamed": lambda: _raises(ValueError("got 1, wanted 2; make it again")),
    "raw": lambda: _raises(KeyError(FILE)),
    "lost": lambda: _reports(f"{FILE}: broken; make it again", **{"entry b": "gone"}),
    "code": lambda: _runs("pass"),
    "code: compile": lambda: Reading(
        {**INTACT.value, "code": str(compile("1 + 1", "foreign", "eval"))}
    ),
    "code: connection": _connects,
    "code: write": _writes_outside,
    "code: os.system": lambda: Reading({"code": str(os.system("true"))}),
    "memory": lambda: _fills(1_300_000_000),
    "hang": lambda: _raises(RuntimeError(str(time.sleep(60)))),
    "crash": lambda: _raises(SystemExit(os._exit(3))),
    "raw: lines": lambda: _raises(ValueError(f"{FILE} got\n1; make it again")),
    "raw: long": lambda: _raises(ValueError(f"{FILE} got {'x' * 2000}; make it again")),
}


def _reader(fault: Callable[[], Reading]) -> Callable[[Path], Reading]:
    return lambda folder: fault() if _is_changed(folder) else INTACT


TARGETS = {
    f"fault {name}": Target(
        f"fault {name}",
        make,
        lambda folder: [folder / FILE],
        (change,),
        _reader(fault),
        has_checksum=True,
        is_session=True,
    )
    for name, fault in FAULTS.items()
}
