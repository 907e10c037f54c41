"""Where a metric finds the published network that it needs. Nothing is ever downloaded."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...cache.content import feed_tensor

_PIECE_BYTES = 1 << 22


@dataclass(frozen=True)
class PublicPart:
    """A published network that a metric reads from the user's folder of weights.

    name: of the network, and of its folder.
    source: who publishes it: a repository on the Hub, or an address.
    megabytes: size of the weights, in 10^6 bytes; None where nobody states it.
    weight_files: names that the weights may have; the first one is the best.
    other_files: what must lie beside them.
    """

    name: str
    source: str
    megabytes: int | None
    weight_files: tuple[str, ...] = ("model.safetensors",)
    other_files: tuple[str, ...] = ("config.json",)


def find_weights(weights: Path, part: PublicPart) -> Path:
    """The file with the weights of a part, in the folder of its name inside `weights`.

    Raises: ValueError naming the part, what is missing, its source, its size and the folder for it.
    """
    folder = weights / part.name
    found = [folder / name for name in part.weight_files if (folder / name).is_file()]
    missing = [name for name in part.other_files if not (folder / name).is_file()]
    if not found:
        missing.append(" or ".join(part.weight_files))
    if missing:
        size = "size not stated" if part.megabytes is None else f"{part.megabytes} MB"
        raise ValueError(
            f"the network {part.name} lacks {' and '.join(missing)} in {folder}; download "
            f"{'them' if len(missing) > 1 else 'it'} from {part.source} ({size}) "
            "into that folder"
        )
    return found[0]


def find_all_weights(weights: Path, parts: Sequence[PublicPart]) -> list[Path]:
    """The files with the weights of each part.

    Raises: ValueError naming every part that is missing, as `find_weights` names one.
    """
    found, missing = [], []
    for part in parts:
        try:
            found.append(find_weights(weights, part))
        except ValueError as error:
            missing.append(str(error))
    if missing:
        raise ValueError("; ".join(missing))
    return found


def files_identity(paths: Sequence[Path]) -> str:
    """SHA-256 of the bytes of all files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        own = hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                own.update(piece)
        digest.update(own.digest())
    return digest.hexdigest()


def network_identity(network: torch.nn.Module) -> str:
    """SHA-256 of a network's class and of all its numbers."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        feed_tensor(digest, tensor)
    return digest.hexdigest()
