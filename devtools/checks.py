"""The checks of a contribution: lint, types, tests."""

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .environment import DEV_DIR, ROOT, Environment
from .folder_link import link_folder
from .server import stop_process

CHILD_PATIENCE_S = 20.0
# The name of the pack for ComfyUI's loader, the tests and mypy.
PACKAGE = "memory_v2v"
TYPED = ("memv2v_core", "nodes")
# Small tests run fastest side by side, with one thread each. A worker of the whole run may hold a
# server and a ComfyUI, hence fewer of them.
SIDE_BY_SIDE = ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "--maxprocesses")
BROWSER_TESTS = "tests/browser"
ALL = (*SIDE_BY_SIDE, "2", f"--ignore={BROWSER_TESTS}")
# Their conftest sends the tests of one frontend to one worker.
BROWSER = ("-n", "2", BROWSER_TESTS)
# The tests for the inner loop on the core: no ComfyUI, no server.
FAST = (
    *(*SIDE_BY_SIDE, "4"),
    *("-m", "not (comfy or server or slow or gpu)"),
    *("tests/core", "tests/test_layering.py"),
)


def lint(environment: Environment, fix: bool = False) -> int:
    """Exit code of ruff's rules, its format, and mypy. All three run."""
    rules = run_python(environment, ["-m", "ruff", "check", *(["--fix"] if fix else []), "."])
    layout = run_python(environment, ["-m", "ruff", "format", *([] if fix else ["--check"]), "."])
    types = _check_types(environment)
    return rules or layout or types


def run_tests(environment: Environment, is_fast: bool, arguments: Sequence[str]) -> int:
    """Exit code of lint and then pytest.

    is_fast: only the quick tests of the core. arguments: of pytest; with some, tests run one after
    another.
    """
    failed = lint(environment)
    if failed:
        return failed
    if arguments:
        return _pytest(environment, (*(FAST if is_fast else ()), *arguments))
    if is_fast:
        return _pytest(environment, FAST)
    # Both run, so that one look shows everything that fails.
    outcomes = [_pytest(environment, chosen) for chosen in (ALL, BROWSER)]
    return next(filter(None, outcomes), 0)


def _pytest(environment: Environment, arguments: Sequence[str]) -> int:
    variables = {"OMP_NUM_THREADS": "1"} if "-n" in arguments else {}
    return run_python(environment, ["-m", "pytest", *arguments], variables=variables)


def run_python(
    environment: Environment,
    arguments: Sequence[str],
    cwd: Path = ROOT,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Exit code of the environment's Python. The child ends with this process."""
    sys.stdout.flush()
    given = {**environment.variables(), "PYTHONUNBUFFERED": "1", **(variables or {})}
    process = subprocess.Popen([str(environment.python), *arguments], cwd=cwd, env=given)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # The terminal interrupts the child too. The child may have to stop a server.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=CHILD_PATIENCE_S)
        raise
    finally:
        stop_process(process, CHILD_PATIENCE_S)


def _check_types(environment: Environment) -> int:
    """mypy over the pack.

    The link gives the pack its package name, which its relative imports need.
    """
    folder = DEV_DIR / "types"
    link_folder(folder / PACKAGE, ROOT)
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(DEV_DIR / "mypy")]
    packages = [word for part in TYPED for word in ("-p", f"{PACKAGE}.{part}")]
    variables = {"MYPYPATH": str(folder)}
    return run_python(environment, ["-m", "mypy", *options, *packages], folder, variables)
