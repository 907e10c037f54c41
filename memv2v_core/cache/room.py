"""What can be known about a save before a turn is made."""

import shutil
from pathlib import Path

from ..atomic_files import remove_file, temp_beside
from .boundary import why_unwritable
from .manifest import LatentShape, require_kind
from .storage import stored_kind

MiB = 2**20
# Header, manifest and the folder itself.
_OVERHEAD_BYTES = 2 * MiB


def require_savable(
    folder: Path, model_name: str, latent_shape: LatentShape, num_bytes: int
) -> None:
    """Raise unless a turn can be saved into the session of this folder as things are now.

    latent_shape: (C, H, W). num_bytes: of the turn's tensors.

    Raises: ValueError for a session of another model or latent size, for a folder that cannot be
    written, and for a disk without space. The text says what to do.
    """
    require_kind(stored_kind(folder), model_name, latent_shape, folder.name)
    # The session's folder is made by the save, so the nearest folder above it is tried.
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        probe = temp_beside(existing / "probe")
        probe.touch(exist_ok=False)
        remove_file(probe)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        raise ValueError(
            f"session {folder.name!r} cannot be saved: {why_unwritable(error, existing)}; or leave "
            "the session's name empty"
        ) from error
    needed = num_bytes + _OVERHEAD_BYTES
    if free < needed:
        raise ValueError(
            f"session {folder.name!r} got {free / MiB:.1f} MiB of free space on the disk of "
            f"{existing}, wanted {needed / MiB:.1f} MiB for this turn; free some space, forget old "
            "turns, or leave the session's name empty"
        )
