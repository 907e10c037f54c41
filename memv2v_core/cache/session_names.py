"""Names and folders of sessions."""

import hashlib
import re
import unicodedata
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
# Room for the number and the hash that a name may get.
_MAX_STEM = 48
_NAME_HASH_LENGTH = 8


def is_session_name(name: str) -> bool:
    """Whether a name is a plain folder name on every system."""
    # Windows opens a device under these names, whatever follows the dot.
    is_device = name.split(".")[0].lower() in _WINDOWS_DEVICES
    return bool(_SESSION_NAME.fullmatch(name)) and not name.endswith(".") and not is_device


def session_name_like(text: str) -> str:
    """The session name that is most like a text, such as a file's name without its ending.

    Accents are dropped and other letters become "_". A text that lost letters gets a short hash, so
    that two such texts stay apart. "" where nothing of the text can stay.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_")[:_MAX_STEM].rstrip("_")
    if not re.search(r"[A-Za-z0-9]", name):
        return ""
    has_lost = any(letter.isalnum() and not letter.isascii() for letter in plain)
    if has_lost or not is_session_name(name):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass")).hexdigest()
        name = f"{name}_{digest[:_NAME_HASH_LENGTH]}"
    return name


def session_folder(root: Path, name: str) -> Path:
    """The folder of a session under `root`.

    Raises: ValueError for a name that is not a plain folder name on every system.
    """
    if not is_session_name(name):
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
