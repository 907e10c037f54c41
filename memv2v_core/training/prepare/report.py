"""What preparation tells while it runs and at its end, and its list of broken items."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from ...atomic_files import make_folder, remove_file, write_atomically

_LOG = logging.getLogger(__name__)
BROKEN_LIST, _BROKEN = "broken.txt", "broken"
_SECONDS_BETWEEN = 10.0
_MOST_SHOWN = 20


class Progress:
    """Logs a line every ten seconds, and at the end: how many of `total`, and the time left."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._count = self._num_broken = 0
        self._start = self._last = time.monotonic()

    def step(self, is_broken: bool = False) -> None:
        """Count one more."""
        self._count += 1
        self._num_broken += is_broken
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN and self._count < self._total:
            return
        self._last = now
        left_s = (now - self._start) / self._count * (self._total - self._count)
        broken = f", {self._num_broken} broken" if self._num_broken else ""
        _LOG.info(
            "%s: %d of %d%s, %s left",
            self._what,
            self._count,
            self._total,
            broken,
            duration(left_s),
        )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class BrokenItems:
    """The broken items of a prepared folder, of all processes: a small file each.

    Raises: OSError where the folder cannot be written.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        make_folder(output / _BROKEN)

    def add(self, name: str, reason: str) -> None:
        text = json.dumps({"name": name, "reason": " ".join(reason.split())})
        write_atomically(self._path(name), text.encode("utf-8"))

    def remove(self, name: str) -> None:
        """Forget an item, which is whole now."""
        if self._path(name).exists():
            remove_file(self._path(name))

    def write_list(self) -> dict[str, str]:
        """The reason of each broken item, written as one list."""
        found = {}
        for path in sorted((self._output / _BROKEN).glob("*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                # Another process has just prepared the item.
                continue
            found[record["name"]] = record["reason"]
        lines = [f"{name}\t{reason}\n" for name, reason in found.items()]
        write_atomically(self._output / BROKEN_LIST, "".join(lines).encode("utf-8"))
        return found

    def _path(self, name: str) -> Path:
        digits = hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]
        return self._output / _BROKEN / f"{digits}.json"


def log_broken(found: Mapping[str, str]) -> None:
    """Name the broken items, and why."""
    for name, reason in list(found.items())[:_MOST_SHOWN]:
        _LOG.info("broken: %s: %s", name, reason)
    if len(found) > _MOST_SHOWN:
        _LOG.info("and %d more in %s", len(found) - _MOST_SHOWN, BROKEN_LIST)
