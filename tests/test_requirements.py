"""What `pip install -r requirements.txt` does to the packages that a user's ComfyUI already has."""

import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements.txt"
NO_COMFYUI = "no ComfyUI: run the tests with `python dev.py test`, or set COMFYUI_PATH"
# A user's ComfyUI has PyTorch already. Here its 3 GB are left out.
WITHOUT_TORCH = 'torch ; sys_platform == "none"\n'
# opencv-python-headless has no such function, and its files replace those that have.
USE_OPENCV = "import cv2, numpy; cv2.ximgproc.thinning(numpy.zeros((8, 8), numpy.uint8))"


def _lines(path: Path = REQUIREMENTS) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _required(lines: list[str], **where: list[str]) -> dict[str, metadata.Distribution]:
    """Installed distributions by name: those of the lines, and all that these require.

    where: the folders to search; without any, those of this Python.
    """
    installed = {_normal(dist.name): dist for dist in metadata.distributions(**where)}
    found: dict[str, metadata.Distribution] = {}
    seen, waiting = set(), [(Requirement(line), "") for line in lines]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = _normal(requirement.name)
        found[name] = installed[name]
        for asked in {"", *requirement.extras}:
            if (name, asked) not in seen:
                seen.add((name, asked))
                waiting += [(Requirement(text), asked) for text in installed[name].requires or ()]
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _owners(module: str, required: dict[str, metadata.Distribution]) -> list[str]:
    """Names of those that put files into the folder of a module."""
    return [
        name
        for name, dist in required.items()
        if any(file.parts[0] == module for file in dist.files or ())
    ]


def _install(folder: Path, name: str, file: str, requires: str = "") -> None:
    """A distribution as an installer leaves it in a folder."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "RECORD").write_text(f"{file},,\n", encoding="utf-8")


def test_the_owner_of_a_module_is_found_behind_other_requirements(tmp_path: Path) -> None:
    _install(tmp_path, "cutter", "cutter/__init__.py", "middle[video]>=1")
    _install(tmp_path, "middle", "middle/__init__.py", 'open-cv ; extra == "video"')
    _install(tmp_path, "open-cv", "cv2/__init__.py")
    where = [str(tmp_path)]
    assert _owners("cv2", _required(["cutter>=1"], path=where)) == ["open-cv"]
    assert _owners("cv2", _required(["middle"], path=where)) == []


def test_nothing_required_brings_an_opencv() -> None:
    """Every OpenCV package writes into the folder cv2: the last one breaks the others."""
    required = _required(_lines())
    assert {"torch", "tokenizers"} <= set(required)
    assert _owners("cv2", required) == []


def test_nothing_required_can_be_too_new() -> None:
    """A limit from above would replace the newer package of a user."""
    for line in _lines():
        assert re.fullmatch(r"[\w-]+(>=[\d.]+)?", line)


def test_a_complete_comfyui_has_all_versions_that_the_pack_requires() -> None:
    from devtools.environment import find_environment

    environment = find_environment()
    if environment is None:
        pytest.skip(NO_COMFYUI)
    lines = _lines(environment.comfyui / "requirements.txt")
    listed = [line for line in lines if line and not line.startswith("#")]
    theirs = {_normal(Requirement(line).name): Requirement(line) for line in listed}
    # ComfyUI lists transformers, which brings this package and states the oldest version.
    for text in metadata.requires("huggingface-hub") or ():
        if _normal(Requirement(text).name) == "filelock":
            theirs["filelock"] = Requirement(text)
    for ours in map(Requirement, _lines()):
        least = [spec.version for spec in theirs[_normal(ours.name)].specifier]
        assert all(ours.specifier.contains(version) for version in least)
        assert least or not ours.specifier


@pytest.mark.slow
def test_an_install_leaves_the_opencv_of_other_packs_working(tmp_path: Path) -> None:
    """A real install, into an environment of its own."""
    from devtools.environment import find_environment, missing_modules, venv_python

    environment = find_environment()
    if environment is None:
        pytest.skip(NO_COMFYUI)
    if missing_modules(environment.python, ("uv",)):
        pytest.skip(f"{environment.python} lacks uv, which makes the environment of this test")
    uv = [str(environment.python), "-m", "uv"]
    venv, overrides = tmp_path / "venv", tmp_path / "overrides.txt"
    overrides.write_text(WITHOUT_TORCH, encoding="utf-8")
    python = str(venv_python(venv))
    _run([*uv, "venv", "--python", str(environment.python), str(venv)])
    install = [*uv, "pip", "install", "--python", python, "--overrides", str(overrides)]
    # 60 MB, once: uv keeps what it downloads.
    opencv = subprocess.run([*install, "opencv-contrib-python-headless"], capture_output=True)
    if opencv.returncode:
        pytest.skip("opencv-contrib-python-headless cannot be downloaded here")
    _run([python, "-c", USE_OPENCV])
    told = _run([*install, "-r", str(REQUIREMENTS)])
    assert "kornia" in told
    _run([python, "-c", USE_OPENCV])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
