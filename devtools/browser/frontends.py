"""The newest ComfyUI frontend of the package registry, beside the one that ComfyUI pins."""

import sys
from pathlib import Path

from ..environment import DEV_DIR, Environment, run_setup

PACKAGE = "comfyui-frontend-package"
_FOLDER = DEV_DIR / "frontend-newest"
_STATIC = _FOLDER / "comfyui_frontend_package" / "static"


def prepare_newest_frontend(environment: Environment) -> Path:
    """The folder of the newest frontend, downloaded where it is missing.

    Nothing is installed into the environment. Delete `.dev/frontend-newest` to look again.

    Raises: SetupError when the download fails.
    """
    if not is_complete():
        print("The newest frontend (about 30 MB, for the browser tests)", flush=True)
        python = str(environment.python)
        pip = [sys.executable if not environment.is_private else python, "-m", "pip", "install"]
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
        run_setup([*pip, *options, "--target", str(_FOLDER), PACKAGE], "the download of a frontend")
    return _STATIC


def newest_frontend() -> Path | None:
    """The folder of the newest frontend; None where nothing has downloaded it."""
    return _STATIC if is_complete() else None


def is_complete() -> bool:
    """Whether the download ended: pip moves whole folders."""
    return (_STATIC / "index.html").is_file()
