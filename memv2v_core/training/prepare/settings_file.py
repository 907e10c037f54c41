"""What a prepared folder was made with, so that a later run does not mix two makes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...atomic_files import make_folder, write_atomically
from ...strict_yaml import as_values
from ..data.prepared_folder import PreparedHeader, num_records
from .config import PrepareConfig

SETTINGS = "settings.json"
# Other settings choose items or a machine: they may change from run to run.
_OF_CLIPS = ("height", "width", "num_frames", "held_out_share")
_OF_ENCODER = ("precision", "text_precision", "is_tiled")
# Paths may change, as when a disk is renamed; a list of lists chooses items.
_PATHS = ("captions", "extended", "lists")


def require_same_settings(config: PrepareConfig, header: PreparedHeader) -> None:
    """Write the settings into a folder without items, and compare them with those of an old one.

    Raises: ValueError naming the setting that differs from the folder's own.
    """
    path, wanted = config.output / SETTINGS, _settings(config, header)
    if not path.exists() or num_records(config.output) == 0:
        make_folder(config.output)
        write_atomically(path, (json.dumps(wanted, indent=1) + "\n").encode("utf-8"))
        return
    found = _read(path)
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ValueError(
                f"{config.output} was prepared with {name} = {found.get(name)!r}, and the "
                f"configuration has {value!r}; choose another output, or delete the folder"
            )


def _settings(config: PrepareConfig, header: PreparedHeader) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in _OF_CLIPS}
    if config.encoder.kind == "wan":
        values |= {name: getattr(config.encoder, name) for name in _OF_ENCODER}
    if config.dataset.kind == "procedural":
        values["seed"] = config.seed
    options = as_values(getattr(config.dataset, config.dataset.kind) or {})
    values |= {name: value for name, value in options.items() if name not in _PATHS}
    values["has_extended"] = options.get("extended") is not None
    # How many items there are changes none of them.
    values.pop("num_items", None)
    # Through JSON, as the file is.
    return json.loads(json.dumps(asdict(header) | values))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, AssertionError) as error:
        raise ValueError(
            f"{path} is broken; choose another output, or delete the folder"
        ) from error
    return found
