"""Names and folders of sessions."""

import re
from pathlib import Path

from .entry_file import ENTRY_SUFFIX
from .manifest_file import MANIFEST_NAME

_SESSION_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
# Names that are no files on Windows.
_WINDOWS_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{i}" for port in ("com", "lpt") for i in range(10)),
}
_SHOWN = 80


def session_folder(root: Path, name: str) -> Path:
    """The folder of a session under `root`.

    Raises: ValueError for a name that is not a plain folder name on every system.
    """
    # Windows opens a device under these names, whatever follows the dot.
    is_device = name.split(".")[0].lower() in _WINDOWS_DEVICES
    if not _SESSION_NAME.fullmatch(name) or name.endswith(".") or is_device:
        raise ValueError(
            f"session name got {name[:_SHOWN]!r}, wanted 1 to 64 of the letters A-Z a-z, digits, "
            "'-', '_' and '.', with no '.' at either end, and no Windows device such as 'con'; "
            "choose a name like 'kitchen_01'"
        )
    return root / name


def list_sessions(root: Path) -> tuple[str, ...]:
    """Names of the sessions under `root`, sorted.

    A session is a folder with a manifest or an entry.
    """
    if not root.is_dir():
        return ()
    folders = [
        folder
        for folder in root.iterdir()
        if folder.is_dir() and _SESSION_NAME.fullmatch(folder.name)
    ]
    return tuple(sorted(folder.name for folder in folders if _holds_session(folder)))


def _holds_session(folder: Path) -> bool:
    try:
        names = [path.name for path in folder.iterdir()]
    # A folder of another user is no session of ours.
    except OSError:
        return False
    return MANIFEST_NAME in names or any(name.endswith(ENTRY_SUFFIX) for name in names)
