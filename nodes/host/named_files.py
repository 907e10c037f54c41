"""Names of files that a workflow gives, checked before anything of that name is touched.

A workflow may come from a stranger. ComfyUI calls `validate_inputs` and `fingerprint_inputs` with
names that it has not checked, and older ComfyUIs never check a name that a node checks itself. So
every node takes the paths of its files from here.

Our choice: the name may not leave its folder. Links inside of the folder may: only the user can
make them, and many keep their models on another disk so.
"""

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

import folder_paths

# Also where this is no Windows: a workflow goes from one system to another.
_DRIVE = re.compile(r"[A-Za-z]:")
_MOST_NAME, _MOST_PART_BYTES, _MOST_SHOWN = 1024, 255, 80


def contained(input_name: str, name: object) -> str:
    """The name itself, where it names something inside of a folder, on every system.

    input_name: of the widget, for messages.

    Raises: ValueError for absolute names, drives, steps to the parent folder and what is no name.
    """
    if not isinstance(name, str):
        raise ValueError(
            f"{input_name} got {type(name).__name__}, wanted the name of a file; choose one again"
        )
    parts = re.split(r"[/\\]", name)
    # Windows drops dots and spaces at the end of a name, so ".. " is the parent folder too.
    is_inside = all(part.rstrip(". ") and not _DRIVE.match(part) for part in parts)
    is_plain = all(ord(letter) >= 32 for letter in name) and not (os.name == "nt" and ":" in name)
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    if not is_inside or not is_plain or len(name) > _MOST_NAME or longest > _MOST_PART_BYTES:
        raise ValueError(
            f"{input_name} got {shown_name(name)}, wanted a name inside of ComfyUI's folder: no "
            "'..', no drive and no absolute path; choose it from the list, or type it anew"
        )
    return name


def shown_name(name: object) -> str:
    """A name of a workflow as a message repeats it: on one line, and not longer than one."""
    text = str(name)
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def input_file(input_name: str, name: object, is_wanted: Callable[[Path], bool]) -> Path | None:
    """A file of the input folder; None where it is missing, or of a kind that is not listed.

    Names may end with [output] or [temp], as everywhere in ComfyUI.

    Raises: ValueError for a name that leaves the folder.
    """
    plain, folder = folder_paths.annotated_filepath(contained(input_name, name))
    # The mark at the end is gone, and what is left may be another name.
    inside = contained(input_name, plain)
    path = Path(folder or folder_paths.get_input_directory(), inside)
    # Not Path.is_file: it fails for files that may not be looked at.
    return path if is_wanted(path) and os.path.isfile(path) else None  # noqa: PTH113


def new_output_file(input_name: str, prefix: object, suffix: str) -> Path:
    """Where the next file of this prefix goes, inside of the output folder.

    Raises: ValueError for a prefix that leaves the folder.
    """
    prefix = contained(input_name, prefix)
    # ComfyUI finds the next free number.
    folder, name, number, _, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_output_directory()
    )
    return Path(folder) / f"{name}_{number:05}_{suffix}"


def require_choice(input_name: str, name: str, choices: Collection[str]) -> str:
    """The name itself, where it is one of the choices.

    Raises: ValueError for any other.
    """
    if name not in choices:
        raise ValueError(
            f"{input_name} got {shown_name(name)}, wanted one of {', '.join(choices)}; choose one "
            "of them"
        )
    return name
