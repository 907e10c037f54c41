"""Changes of what stands at a file's name: a folder, a link, a pipe, an endless or a huge file."""

import os
from pathlib import Path
from random import Random

SECRET = "planted-secret-7f3a9c"
SECRET_FILE = "outside_secret.txt"
HUGE_BYTES = 8 << 30


def as_folder(path: Path, rng: Random) -> str:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inside.txt").write_text("x")
    return "a folder"


def as_link_loop(path: Path, _rng: Random) -> str:
    path.unlink()
    other = path.with_name(f"{path.name}.loop")
    path.symlink_to(other.name)
    other.symlink_to(path.name)
    return "a loop of links"


def as_dangling_link(path: Path, _rng: Random) -> str:
    path.unlink()
    path.symlink_to("nothing_is_here")
    return "a link to nothing"


def as_link_to_secret(path: Path, _rng: Random) -> str:
    """A link to a text outside the folder, whose content no message may repeat."""
    path.unlink()
    path.symlink_to(secret_file(path.parent))
    return "a link to a private text"


def as_pipe(path: Path, _rng: Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe that nobody writes"


def as_endless_device(path: Path, _rng: Random) -> str:
    path.unlink()
    path.symlink_to("/dev/zero")
    return "a link to an endless device"


def as_unreadable(path: Path, _rng: Random) -> str:
    path.chmod(0)
    return "no right to read"


def as_sparse(path: Path, rng: Random) -> str:
    """The content, or nothing, with zeros up to 8 GiB that take no room on the disk."""
    if rng.random() < 0.5:
        path.write_bytes(b"")
    os.truncate(path, HUGE_BYTES)
    return "8 GiB of zeros at the end"


def as_empty(path: Path, _rng: Random) -> str:
    path.write_bytes(b"")
    return "empty"


def as_missing(path: Path, _rng: Random) -> str:
    path.unlink()
    return "gone"


def secret_file(folder: Path) -> Path:
    """The private text beside the case's folder; it is made where it is missing."""
    path = folder.parent / SECRET_FILE
    if not path.exists():
        path.write_text(f"{SECRET} {SECRET}\n{SECRET}\n")
    return path


PLACES = (
    *(as_folder, as_link_loop, as_dangling_link, as_link_to_secret, as_pipe, as_endless_device),
    *(as_unreadable, as_sparse, as_empty, as_missing),
)
