"""Pythons of metrics whose heavy package is a small one with the same interface."""

import os
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

# Writes files by their paths and gives the Python that finds them.
PythonWith = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="session")
def python_with(tmp_path_factory: pytest.TempPathFactory) -> PythonWith:
    """Makes virtual environments that hold some files, and the packages of this Python."""

    def made(files: dict[str, str]) -> Path:
        folder = tmp_path_factory.mktemp("python")
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True
        )
        packages = folder / "packages"
        packages.mkdir()
        for name, text in files.items():
            place = packages / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        place = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
        python = folder.joinpath("env", *place)
        probe = "import sysconfig; print(sysconfig.get_path('purelib'))"
        inside = subprocess.run([str(python), "-c", probe], capture_output=True, text=True)
        # The small packages stand first.
        places = [str(packages), sysconfig.get_path("purelib"), *site.getsitepackages()]
        pth = Path(inside.stdout.strip()) / "packages.pth"
        pth.write_text("\n".join(dict.fromkeys(places)) + "\n")
        return python

    return made
