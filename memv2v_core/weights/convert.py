"""Writes published checkpoints as one safetensors file, which loads fast and runs no code.

    python -m memv2v_core.weights.convert step20000.ckpt recammaster.safetensors --dtype bf16
    python -m memv2v_core.weights.convert Lucy-Edit-Dev lucy-edit-dev.safetensors --dtype bf16

IN is one of two.
- The checkpoint of ReCamMaster or SpaceTimePilot. Its cameras stay in the file: LoadMemoryV2VModel
takes the whole file, LoadMemoryAdapter its cameras.
- A Wan DiT in diffusers' names: a file, any shard of a set, the `transformer` folder or the folder
above it.
OUT has native Wan names.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .checkpoint import native_weights, require_base_finite, require_whole
from .detection import SOURCE_KEY, WeightFile, detect, require_base
from .weight_files import (
    DTYPES,
    SAFETENSORS_SUFFIXES,
    WEIGHT_SUFFIXES,
    is_first_of_its_file,
    read_header,
    read_weights,
    write_safetensors,
)

log = logging.getLogger(__name__)


def convert(source: Path, target: Path, dtype: torch.dtype | None = None) -> WeightFile:
    """Write the base in `source` to `target` and return its description.

    dtype: floats become this type; None keeps their type.

    Raises: ValueError for a source that is not a whole base, and for a target that exists or is no
    safetensors name.
    """
    if target.suffix.lower() not in SAFETENSORS_SUFFIXES:
        raise ValueError(
            f"OUT got {target.name}, wanted a name that ends in .safetensors; rename it"
        )
    if target.exists():
        raise ValueError(f"OUT got {target}, which exists; delete it, or choose another name")
    # All checks come first; only the last one reads more than the header.
    path = weights_file(source)
    header = read_header(path)
    file = detect(header.shapes, header.metadata, path)
    require_base(file, path.name)
    require_whole(path, header, file)
    metadata = {**header.metadata, "format": "pt", SOURCE_KEY: file.what}
    weights = native_weights(read_weights(path), file)
    require_base_finite(path, weights)
    write_safetensors(target, weights, metadata, dtype)
    return file


def weights_file(source: Path) -> Path:
    """The file of a DiT in `source`: itself, or the one in a folder of diffusers' layout.

    Raises: ValueError when a folder holds none or several.
    """
    if not source.is_dir():
        return source
    # diffusers keeps the DiT in `transformer`, beside text encoder and VAE.
    folder = source / "transformer" if (source / "transformer").is_dir() else source
    found = sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in WEIGHT_SUFFIXES and is_first_of_its_file(p.name)
    )
    if len(found) != 1:
        held = ", ".join(path.name for path in found) or "no file of weights"
        raise ValueError(
            f"{folder} got {held}, wanted one file or one set of shards; name the file"
        )
    return found[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    parser = argparse.ArgumentParser(
        description="Write a published checkpoint as one safetensors file."
    )
    parser.add_argument(
        "source",
        metavar="IN",
        type=Path,
        help="a .ckpt of ReCamMaster or SpaceTimePilot, or a file or folder of diffusers",
    )
    parser.add_argument("target", metavar="OUT", type=Path, help="the safetensors file to write")
    parser.add_argument(
        "--dtype", choices=sorted(DTYPES), help="store floats so; left out, as the source does"
    )
    options = parser.parse_args(arguments)
    try:
        file = convert(options.source, options.target, DTYPES.get(options.dtype))
    except ValueError as error:
        parser.error(str(error))
    log.info("%s: %s, %.2f GB", options.target, file.what, options.target.stat().st_size / 1e9)


if __name__ == "__main__":
    main()
