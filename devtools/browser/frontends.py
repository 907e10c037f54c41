"""The newest ComfyUI frontend of the package registry, beside the one that ComfyUI pins."""

import shutil
import sys
import time
from pathlib import Path

from ..environment import DEV_DIR, Environment, SetupError, run_setup

PACKAGE = "comfyui-frontend-package"
_FOLDER = DEV_DIR / "frontend-newest"
_NEW_FOLDER = DEV_DIR / "frontend-downloading"
_OLD_S = 7 * 24 * 3600
_STATIC = _FOLDER / "comfyui_frontend_package" / "static"


def prepare_newest_frontend(environment: Environment) -> Path:
    """The folder of the newest frontend, downloaded where it is missing or a week old.

    Nothing is installed into the environment. An old one serves on where the download fails.

    Raises: SetupError when the download fails and there is no old one.
    """
    if is_complete() and time.time() - (_STATIC / "index.html").stat().st_mtime < _OLD_S:
        return _STATIC
    print("The newest frontend (about 30 MB, for the browser tests)", flush=True)
    try:
        _download(environment)
    except SetupError as error:
        if not is_complete():
            raise
        print(f"{error}\nThe one of before serves on.", flush=True)
    return _STATIC


def _download(environment: Environment) -> None:
    python = str(environment.python)
    pip = [sys.executable if not environment.is_private else python, "-m", "pip", "install"]
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    shutil.rmtree(_NEW_FOLDER, ignore_errors=True)
    run_setup([*pip, *options, "--target", str(_NEW_FOLDER), PACKAGE], "the download of a frontend")
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _NEW_FOLDER.rename(_FOLDER)


def newest_frontend() -> Path | None:
    """The folder of the newest frontend; None where nothing has downloaded it."""
    return _STATIC if is_complete() else None


def is_complete() -> bool:
    """Whether the download ended: pip moves whole folders."""
    return (_STATIC / "index.html").is_file()
