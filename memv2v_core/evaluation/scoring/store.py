"""What has been measured: one small file a clip and metric, so that nothing is measured twice.

Files are whole or absent, and each process writes files of its own. So a run that is killed goes
on, and several processes share a folder.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...atomic_files import write_atomically

_HASH_DIGITS, _MOST_LETTERS = 12, 60

# Of one video ("1") or of a pair of turns ("1-2"): the value of each column.
Values = dict[str, dict[str, float]]


@dataclass(frozen=True)
class UnitKey:
    """What one file holds: a metric's values for all turns of one clip, method and seed.

    fingerprint: of the videos' bytes and of the metric; a file of another one does not count.
    """

    method: str
    metric: str
    clip: str
    seed: int
    fingerprint: str


@dataclass(frozen=True)
class Store:
    """A folder of measured values."""

    folder: Path

    def read(self, key: UnitKey) -> Values | None:
        """The values; None where they were not measured, or of other videos."""
        try:
            held = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(held, Mapping) or held.get("fingerprint") != key.fingerprint:
            return None
        return {
            subject: {name: float(value) for name, value in columns.items()}
            for subject, columns in held["values"].items()
        }

    def write(self, key: UnitKey, values: Values) -> None:
        """Keep these values.

        Raises: OSError where the folder takes no files.
        """
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        held = {"fingerprint": key.fingerprint, "values": plain_values(values)}
        write_atomically(path, json.dumps(held, indent=1).encode())

    def _path(self, key: UnitKey) -> Path:
        # A name of any length and alphabet: readable where it is short, and told apart by a hash.
        digest = hashlib.sha256(key.clip.encode()).hexdigest()[:_HASH_DIGITS]
        clip = re.sub(r"[^\w.-]+", "_", key.clip, flags=re.ASCII)[:_MOST_LETTERS]
        file = f"{clip} {digest} seed {key.seed}.json"
        return self.folder / key.method / key.metric / file


def plain_values(values: Values) -> dict[str, dict[str, float | str]]:
    """The values for a JSON file, which has no word for infinity and NaN: both become text."""
    return {
        subject: {
            name: value if math.isfinite(value) else str(value) for name, value in columns.items()
        }
        for subject, columns in values.items()
    }
