"""Files of weights in ComfyUI's model folders."""

from pathlib import Path

import folder_paths

from ....memv2v_core.weights.weight_files import WEIGHT_SUFFIXES, is_first_of_its_file, shards_of
from ..named_files import contained

FOLDER = "memv2v"
DESCRIPTOR_FOLDER = "dinov2"

# Registered on import: ComfyUI looks for files in registered folders when it asks a node for its
# inputs.
for _folder in (FOLDER, DESCRIPTOR_FOLDER):
    folder_paths.add_model_folder_path(_folder, str(Path(folder_paths.models_dir) / _folder))


def weight_files(folder: str) -> list[str]:
    """Names of the files of weights in a model folder, including subfolders.

    The first shard stands for a set of shards.
    """
    names = folder_paths.get_filename_list(folder)
    return [
        name
        for name in names
        if name.lower().endswith(WEIGHT_SUFFIXES) and is_first_of_its_file(Path(name).name)
    ]


def file_path(folder: str, name: str) -> Path:
    """Path of a file that `weight_files` listed.

    Raises: ValueError for a name that leaves the folder. FileNotFoundError naming the folder, when
    the file is gone.
    """
    inside = contained(f"the file of models/{folder}", name)
    return Path(folder_paths.get_full_path_or_raise(folder, inside))


def descriptor_folders() -> list[Path]:
    """Folders where the user may have put folders of DINOv2 weights."""
    return [Path(path) for path in folder_paths.get_folder_paths(DESCRIPTOR_FOLDER)]


def fingerprint(*paths: Path) -> str:
    """A text that changes when one of the files changes."""
    return " ".join(_status(path) for path in paths)


def file_fingerprint(folder: str, name: str) -> str:
    """A text that changes when a file of `weight_files`, or one of its shards, changes.

    Raises: ValueError for a name that leaves the folder.
    """
    inside = contained(f"the file of models/{folder}", name)
    path = folder_paths.get_full_path(folder, inside)
    # Any shard may have been replaced.
    return fingerprint(*shards_of(Path(path))) if path else "missing"


def _status(path: Path) -> str:
    if not path.exists():
        return "missing"
    status = path.stat()
    return f"{status.st_mtime_ns}-{status.st_size}"
