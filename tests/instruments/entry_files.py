"""Entry files that were changed: by another program, by a version before hashes, or by the disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, save_file

HASHES_KEY = "memory_v2v_hashes"
FACTS_KEY = "memory_v2v_entry"


def with_content(entry: Any, **parts: Any) -> Any:
    """The entry with other tensors or another camera; its tensors are in memory."""
    return replace(entry, content=replace(entry.content, **parts))


def texts_of(path: Path) -> dict[str, str]:
    """The header texts of the file."""
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def rewrite(
    path: Path,
    texts: dict[str, str] | None = None,
    tensors: dict[str, torch.Tensor] | None = None,
    facts: dict[str, Any] | None = None,
    keeps_hashes: bool = False,
) -> None:
    """Change texts, tensors or facts of an entry's file.

    Without its hashes it is a file as the versions before them wrote it.
    """
    header = {**texts_of(path), **(texts or {})}
    if facts is not None:
        header[FACTS_KEY] = json.dumps({**json.loads(header[FACTS_KEY]), **facts})
    if not keeps_hashes:
        header.pop(HASHES_KEY, None)
    save_file({**load(path.read_bytes()), **(tensors or {})}, path, header)


def flip_bit(path: Path, place: int, bit: int = 0) -> None:
    """Flip one bit of the byte at `place`; from the end where it is negative."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))
