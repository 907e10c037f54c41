"""A folder link that works on every system."""

import contextlib
import os
import subprocess
from pathlib import Path


def link_folder(link: Path, target: Path) -> None:
    """Make `link` point to `target`, in place of any earlier link."""
    link.parent.mkdir(parents=True, exist_ok=True)
    unlink_folder(link)
    # On Windows a symbolic link needs special rights; a junction needs none.
    if os.name == "nt":
        subprocess.run(
            ["cmd", "/c", "mklink", "/J", str(link), str(target)], check=True, capture_output=True
        )
    else:
        link.symlink_to(target, target_is_directory=True)


def unlink_folder(link: Path) -> None:
    """Remove a link, never its target."""
    if os.name == "nt":
        with contextlib.suppress(FileNotFoundError):
            link.rmdir()
    else:
        link.unlink(missing_ok=True)
