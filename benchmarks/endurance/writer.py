"""A writer process that kills itself at a chosen file operation, or waits to be killed."""

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.attack.targets.sessions import make_entry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cache.storage import load_session, save_session

MOST_ENTRIES = 12
# Python tells of these calls with the path first; renames have a second path.
_EVENTS = {
    *("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"),
    *("os.symlink", "os.chmod", "os.utime", "os.listdir", "os.scandir", "fcntl.flock"),
}

Change = tuple[str, str, int]


def changes(rng: random.Random, cache: MemoryCache, number: int) -> tuple[Change, MemoryCache]:
    """The next change of a session, and the cache after it."""
    kinds = ["append", "append", "append"]
    if cache.entries:
        kinds += ["pin", "unpin", "forget"]
    kind = rng.choice(kinds) if len(cache) < MOST_ENTRIES else "forget"
    if kind == "append":
        entry = make_entry(number)
        return (kind, entry.entry_id, number), cache.append(entry)
    chosen = rng.choice(cache.entries)
    change = kind, chosen.entry_id, chosen.turn
    if kind == "forget":
        return change, cache.forget(chosen.entry_id)
    return change, cache.pin(chosen.entry_id, kind == "pin")


def write_until_killed(folder: Path, seed: int, first: int, kill_at: int, channel: int) -> None:
    """Change and save the session without end; tell of each change before and after.

    first: number of the first new entry. kill_at: the file operation that is the last one; 0 waits
    for the parent.
    """
    rng = random.Random(seed)
    cache = load_session(folder).cache
    if kill_at:
        _die_at(folder, kill_at)
    for number in range(first, first + 100_000):
        change, grown = changes(rng, cache, number)
        _tell(channel, ["begin", *change])
        cache = save_session(grown, folder).cache
        _tell(channel, ["done", *change])


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """(process id, reading end of its pipe) of a child that runs `work` with the writing end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    # The child never returns into the parent's code.
    status = 1
    try:
        os.close(reading)
        work(writing)
        status = 0
    except BaseException as error:
        _tell(writing, ["error", type(error).__name__, str(error), 0])
    finally:
        os._exit(status)


def messages(reading: int) -> list[list[Any]]:
    """All messages of a child until its end."""
    data = b""
    while part := os.read(reading, 1 << 16):
        data += part
    os.close(reading)
    # A kill may cut the last message.
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def _tell(channel: int, message: list[Any]) -> None:
    os.write(channel, json.dumps(message).encode() + b"\n")


def _die_at(folder: Path, count: int) -> None:
    """Make this process kill itself just before its `count`-th file operation in `folder`."""
    left, place, sync = [count], str(folder), os.fsync

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        # A lock call has a handle alone, and no other file is locked here.
        if event == "fcntl.flock" or place in str(arguments[0]):
            step()

    def counted_sync(handle: int) -> None:
        step()
        sync(handle)

    sys.addaudithook(hear)
    # Python tells of no sync, so the call itself is counted.
    os.fsync = counted_sync
