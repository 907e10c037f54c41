"""Files of context branches: one safetensors with its configuration in the metadata."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ..weights.reading.boundary import Fault, quoted, reading
from ..weights.reading.finite import require_finite, require_floats
from ..weights.reading.json_text import parse_object
from ..weights.reading.settings import read_settings
from ..weights.reading.tensor_sizes import require_exact
from ..weights.weight_files import read_header, read_weights, write_safetensors
from .branch import BranchConfig, ContextBranch

BRANCH_FORMAT = "memory-v2v-context-branch-1"
WANTED = "a whole context branch"
REMEDY = "train or download it again"


@dataclass(frozen=True)
class BranchRecord:
    """How a branch was trained, for the people who use it; JSON in the file's metadata.

    base: the name of the DiT. data: the videos, in words. steps: optimiser steps, at least 1.
    trained: the parts that were trained, in words.
    """

    base: str
    data: str
    steps: int
    trained: str


def save_branch(
    path: Path, branch: ContextBranch, record: BranchRecord, dtype: torch.dtype = torch.float32
) -> None:
    """Write a branch, whole or not at all.

    dtype: the type of all weights.

    Raises: ValueError for content that `read_branch` would refuse by name, size or setting.
    """
    metadata = {
        "format": BRANCH_FORMAT,
        "config": json.dumps(dataclasses.asdict(branch.config)),
        "record": json.dumps(dataclasses.asdict(record)),
    }
    with reading(path, WANTED, "save a whole branch with its record"):
        _read_texts(metadata)
    write_safetensors(path, branch.state_dict(), metadata, dtype)


def read_branch(path: Path) -> tuple[ContextBranch, BranchRecord]:
    """The branch in a file in fp32, and how it was trained.

    Raises: ValueError naming the file, its content and the content wanted.
    """
    header = read_header(path)
    with reading(path, WANTED, REMEDY):
        stated = header.metadata.get("format")
        if stated != BRANCH_FORMAT:
            raise Fault(f"got the format {quoted(stated)}", "choose a file of a context branch")
        # All names and sizes are compared before a weight is read.
        config, record = _read_texts(header.metadata)
        with torch.device("meta"):
            branch = ContextBranch(config)
        require_exact(
            header.shapes, {name: tuple(each.shape) for name, each in branch.state_dict().items()}
        )
        weights = read_weights(path)
        require_floats(weights)
        require_finite(weights)
    branch.load_state_dict({name: each.float() for name, each in weights.items()}, assign=True)
    return branch, record


def _read_texts(metadata: dict[str, str]) -> tuple[BranchConfig, BranchRecord]:
    """Configuration and record.

    Raises: Fault for a text that is missing or broken.
    """
    config = parse_object(metadata.get("config", ""), "a configuration")
    record = parse_object(metadata.get("record", ""), "a record")
    return read_settings(BranchConfig, config), read_settings(BranchRecord, record)
