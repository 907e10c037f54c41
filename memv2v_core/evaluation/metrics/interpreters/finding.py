"""Which Python runs a metric whose package wants an environment of its own."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

# `dev.py metrics` writes here; the checkout is the folder that holds memv2v_core.
SETS_UP = Path(__file__).resolve().parents[4] / ".dev" / "metrics"


def variable_of(name: str) -> str:
    """The environment variable that names the Python of this metric."""
    return f"MEMV2V_METRICS_{re.sub('[^A-Z0-9]', '_', name.upper())}_PYTHON"


def find_interpreter(
    name: str, sets_up: Path = SETS_UP, environment: Mapping[str, str] | None = None
) -> Path:
    """The Python of this metric: of its environment variable, else of its private environment.

    sets_up: the folder of private environments. environment: variables; the process's own if None.

    Raises: ValueError naming what was looked for and the remedy.
    """
    variable = variable_of(name)
    named = (os.environ if environment is None else environment).get(variable)
    if named:
        found = Path(shutil.which(named) or named).expanduser()
        if not found.is_file():
            raise ValueError(
                f"{variable} got {named}, which is no file; name the full path of a Python that "
                f"has the packages of {name}, or unset it"
            )
        return found
    folder = sets_up / name
    for place in (folder / "bin" / "python", folder / "Scripts" / "python.exe"):
        # The stamp is written last: an interrupted setup has none.
        if place.is_file() and (sets_up / f"{name}.json").is_file():
            return place
    raise ValueError(
        f"the metric {name} runs in a Python of its own, and {folder} holds none that is complete; "
        f"run python3 dev.py metrics {name}, or name a Python with its packages in {variable}"
    )
