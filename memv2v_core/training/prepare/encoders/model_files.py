"""Files of published models on this computer. Nothing is ever downloaded."""

import json
from pathlib import Path
from typing import Any

WAN_SOURCES = (
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers, or of Wan-AI/Wan2.2-TI2V-5B-Diffusers or "
    "decart-ai/Lucy-Edit-Dev for their models"
)


def require_part(folder: Path, part: str, patterns: tuple[str, ...]) -> None:
    """Raise ValueError unless `folder` has a file for each pattern.

    part: the folder of the published model that has them.
    """
    for pattern in patterns:
        if not any(folder.glob(pattern)):
            raise ValueError(
                f"{folder} got no {pattern}, wanted the folder {part} of {WAN_SOURCES}; download "
                "it there"
            )


def read_config(path: Path) -> dict[str, Any]:
    """The fields of a model's config.json.

    Raises: ValueError for a file that cannot be read or is no JSON object.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); download it again") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path} is no description of a model; download it again")
    return fields


def require_whole(path: Path, missing: Any) -> None:
    """Raise ValueError when weights of a model are missing in its files."""
    # The libraries would draw them at random and only warn.
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of its tensors, such as {min(missing)}; download it again"
        )
