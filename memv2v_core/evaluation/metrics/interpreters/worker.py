"""A script that runs in another Python, stays open, and answers one request after the other.

A request is one line of JSON on the script's input, its answer one line on its output. Arrays
travel beside them as .npy files in a temporary folder, so no number changes on the way. All that a
package prints goes to a log, whose end is shown where the script fails.

Nothing is downloaded: `scripts/serving.py` closes torch.hub, and the variables below close the
Hugging Face Hub.
"""

import json
import os
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ....weights.reading.boundary import one_line
from .finding import find_interpreter

_SCRIPTS = Path(__file__).parent / "scripts"
_SHOWN_LINES = 8
_SHOWN_CHARS = 200
_CLOSES_WITHIN_S = 10
# Of this process alone: another Python must not import this one's packages, nor join its ranks.
_KEPT_BACK = {
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
}
_ADDED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUTF8": "1",
}


class Worker:
    """A script of `scripts/` in the Python of a metric.

    name: of the metric. script: its file name in `scripts/`. settings: for its `start`.

    facts: what `start` says of itself, such as the version of its package.

    Raises: ValueError where there is no such Python, or where the script ends.
    """

    def __init__(self, name: str, script: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.python = find_interpreter(name)
        # Its finalizer also runs at the end of this process.
        self._temporary = tempfile.TemporaryDirectory(prefix="memv2v_metric_")
        self.folder = Path(self._temporary.name)
        self._log = self.folder / "log.txt"
        variables = {key: text for key, text in os.environ.items() if key not in _KEPT_BACK}
        with self._log.open("wb") as log:
            self._process = self._started(
                [str(self.python), "-u", str(_SCRIPTS / "serving.py"), str(_SCRIPTS / script)],
                {**variables, **_ADDED, "TORCH_HOME": str(self.folder)},
                log,
            )
        self.close = weakref.finalize(self, _close, self._process, self._temporary)
        self.facts = self.ask(settings)

    def _started(
        self, command: list[str], variables: dict[str, str], log: Any
    ) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=variables,
                encoding="utf-8",
            )
        except OSError as error:
            raise ValueError(
                f"the metric {self.name} could not start {self.python} ({error}); correct "
                "the variable that names it, or set its environment up again"
            ) from error

    def ask(
        self, request: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The answer to one request.

        arrays: by name; the script gets them as they are.

        Raises: ValueError with the last lines of the script, where it ended.
        """
        places = {name: str(self.folder / f"{name}.npy") for name in arrays or {}}
        for name, array in (arrays or {}).items():
            np.save(places[name], array, allow_pickle=False)
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the process was started with pipes")
        line = ""
        try:
            self._process.stdin.write(json.dumps({"request": request, "arrays": places}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (OSError, ValueError):
            # A closed pipe: the script has ended. Its log says why.
            pass
        if not line.endswith("\n"):
            raise ValueError(self._ended())
        for place in places.values():
            Path(place).unlink()
        return json.loads(line)

    def _ended(self) -> str:
        try:
            code: int | str = self._process.wait(_CLOSES_WITHIN_S)
        except subprocess.TimeoutExpired:
            code = "none, it still runs"
        written = "no line"
        if self._log.is_file():
            text = self._log.read_text(encoding="utf-8", errors="replace")
            lines = [one_line(line, _SHOWN_CHARS) for line in text.splitlines() if line.strip()]
            written = " | ".join(lines[-_SHOWN_LINES:]) or written
        return (
            f"the metric {self.name} ended in {self.python} (exit code {code}); its last lines: "
            f"{written}"
        )


def _close(process: subprocess.Popen[str], temporary: "tempfile.TemporaryDirectory[str]") -> None:
    """End the script, which stops at the end of its input, and delete its folder."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue  # the script has ended before it read all
    try:
        process.wait(_CLOSES_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    temporary.cleanup()
