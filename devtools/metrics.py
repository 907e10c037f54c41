"""`dev.py metrics`: a private environment for each metric whose package wants one of its own.

Its folder is `.dev/metrics/NAME`, where the metric looks for it. Packages come pinned from
`metrics_requirements/NAME.txt`, and the metric's own package without what it declares: those
declarations cannot all be met, and hold much that the metric never uses.
"""

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .environment import (
    DEV_DIR,
    ROOT,
    SetupError,
    make_venv,
    missing_modules,
    run_setup,
    venv_python,
)

METRICS_DIR = DEV_DIR / "metrics"
PYTHONS = ((3, 10), (3, 12))
_REQUIREMENTS = Path(__file__).parent / "metrics_requirements"
_DISK_BYTES = 8_000_000_000


@dataclass(frozen=True)
class MetricPackage:
    """What a metric needs beside its requirements.

    package: of the registry, installed without its declared needs; empty where it is on none.
    modules: that must be found in the end. checkout: a file inside the user's checkout, which
    stands in for `package`. others: modules that the user builds, and where they come from.
    """

    package: str
    modules: tuple[str, ...]
    checkout: tuple[str, ...] = ()
    others: tuple[tuple[str, str], ...] = ()


PACKAGES = {
    "vbench": MetricPackage("vbench==0.1.5", ("vbench", "torch", "clip", "pyiqa", "decord")),
    "met3r": MetricPackage(
        "",
        ("met3r", "torch", "lpips", "timm"),
        # The second and third are its submodule mast3r and that one's submodule dust3r.
        checkout=(
            "met3r/met3r.py",
            "mast3r/mast3r/model.py",
            "mast3r/dust3r/dust3r/model.py",
            "mast3r/dust3r/croco/models/croco.py",
        ),
        others=(
            ("pytorch3d", "https://github.com/facebookresearch/pytorch3d"),
            ("featup", "https://github.com/mhamilton723/FeatUp"),
        ),
    ),
    "pose_da3": MetricPackage(
        "depth-anything-3==0.1.1", ("depth_anything_3", "torch", "safetensors", "addict")
    ),
}


def add_metrics_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "name", nargs="?", choices=PACKAGES, help="a metric; all are listed if none"
    )
    parser.add_argument(
        "--checkout",
        type=Path,
        help="the folder of your own checkout, where a package is on no registry (met3r)",
    )


def run_metrics(options: argparse.Namespace) -> int:
    """The exit code: sets one metric up, or lists all.

    Raises: SetupError when an environment cannot be made.
    """
    if options.name is None:
        if options.checkout is not None:
            raise SetupError("--checkout got a folder without a metric; name the metric, too")
        print("\n".join(_listed()), flush=True)
        return 0
    python = set_up(options.name, options.checkout)
    print(f"Python of {options.name}: {python}", flush=True)
    return 0


def set_up(name: str, checkout: Path | None = None) -> Path:
    """The Python of a metric; its environment is made first where it is missing or changed.

    Raises: SetupError naming what stops it and the remedy.
    """
    metric, folder = PACKAGES[name], METRICS_DIR / name
    checkout = _checked(name, metric, checkout)
    python, stamp = venv_python(folder), METRICS_DIR / f"{name}.json"
    key = _key(name, metric, checkout)
    if not python.is_file() or _stamped(stamp) != key:
        _require_room()
        began_s = time.monotonic()
        print(f"Setting up the environment of {name} in {folder} (once; up to 7 GB).", flush=True)
        METRICS_DIR.mkdir(parents=True, exist_ok=True)
        # An interrupted setup leaves no stamp, so the next one starts again.
        stamp.unlink(missing_ok=True)
        make_venv(folder)
        _install(python, _REQUIREMENTS / f"{name}.txt", metric.package)
        if checkout is not None:
            _add_to_path(python, name, checkout)
        if missing := missing_modules(python, metric.modules):
            raise SetupError(
                f"after the installation {', '.join(missing)} cannot be found; delete {folder} and "
                "try again"
            )
        stamp.write_text(json.dumps({"key": key}), encoding="utf-8")
        print(f"Ready after {time.monotonic() - began_s:.0f} s.", flush=True)
    _tell_what_is_left(python, name, metric)
    return python


def _checked(name: str, metric: MetricPackage, checkout: Path | None) -> Path | None:
    """The checkout as a full path; None for a metric without one."""
    if not metric.checkout:
        if checkout is not None:
            raise SetupError(
                f"--checkout got {checkout}, but {name} is {metric.package} of the registry; leave "
                "it out"
            )
        return None
    if checkout is None:
        raise SetupError(
            f"{name} is on no registry; clone https://github.com/mohammadasim98/met3r with "
            "--recurse-submodules, and name its folder: "
            f"python3 dev.py metrics {name} --checkout FOLDER"
        )
    checkout = checkout.expanduser().resolve()
    if missing := [place for place in metric.checkout if not (checkout / place).is_file()]:
        raise SetupError(
            f"--checkout got {checkout}, which lacks {', '.join(missing)}; name the folder of a "
            "complete checkout (git submodule update --init --recursive)"
        )
    return checkout


def _key(name: str, metric: MetricPackage, checkout: Path | None) -> str:
    """Hash of everything that makes the environment; ROOT, as it cannot move."""
    facts = f"{platform.system()} {platform.machine()} {ROOT} {metric} {checkout}"
    digest = hashlib.sha256(facts.encode())
    digest.update((_REQUIREMENTS / f"{name}.txt").read_bytes())
    return digest.hexdigest()


def _stamped(stamp: Path) -> str:
    return json.loads(stamp.read_text(encoding="utf-8"))["key"] if stamp.is_file() else ""


def _require_room() -> None:
    low, high = PYTHONS
    if not low <= sys.version_info[:2] <= high:
        raise SetupError(
            f"the packages of metrics need CPython {low[0]}.{low[1]} to {high[0]}.{high[1]}, this "
            f"is {platform.python_version()}; start dev.py with another Python for this command"
        )
    free = shutil.disk_usage(ROOT).free
    if free < _DISK_BYTES:
        raise SetupError(
            f"{ROOT} has {free / 1e9:.1f} GB free, setup needs {_DISK_BYTES / 1e9:.0f} GB; make "
            "room first"
        )


def _install(python: Path, requirements: Path, package: str) -> None:
    uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python)]
    run_setup([*uv, "-r", str(requirements)], "the download of packages")
    if package:
        run_setup([*uv, "--no-deps", package], f"the download of {package}")


def _add_to_path(python: Path, name: str, checkout: Path) -> None:
    """Put a checkout on the path of this Python by a .pth file."""
    probe = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-I", "-c", probe], capture_output=True, text=True)
    if found.returncode:
        raise SetupError(f"{python} does not run: {found.stderr.strip()[-400:]}")
    place = Path(found.stdout.strip()) / f"{name}_checkout.pth"
    place.write_text(f"{checkout}\n", encoding="utf-8")


def _tell_what_is_left(python: Path, name: str, metric: MetricPackage) -> None:
    missing = missing_modules(python, tuple(module for module, _ in metric.others))
    for module, source in metric.others:
        if module in missing:
            print(
                f"{name} still needs {module}, which is on no registry: clone {source}, then run\n"
                f"  {python} -m pip install --no-build-isolation --no-deps FOLDER",
                flush=True,
            )


def _listed() -> list[str]:
    """One line a metric: whether it is set up, and where."""
    lines = []
    for name, metric in PACKAGES.items():
        python, stamp = venv_python(METRICS_DIR / name), METRICS_DIR / f"{name}.json"
        is_ready = python.is_file() and bool(_stamped(stamp))
        package = metric.package or "your own checkout"
        state = f"set up in {METRICS_DIR / name}" if is_ready else "not set up"
        lines.append(f"{name:<10} {package:<26} {state}")
    return lines
