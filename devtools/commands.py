"""dev.py's subcommands."""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from .api import ApiError
from .browser.frontends import prepare_newest_frontend
from .checks import lint, run_python, run_tests
from .demo import add_demo_options, run_demo
from .depth_demo import run_depth_demo
from .environment import (
    DEV_DIR,
    RELEASES,
    ROOT,
    RUNTIME_MODULES,
    TEST_MODULES,
    SetupError,
    prepare_environment,
)
from .long_demo import run_long_demo
from .metrics import add_metrics_options, run_metrics
from .server import ServerError, running_server

PASSED_ON = {
    "evaluate": (
        "memv2v_core.evaluation",
        "measure a built-in model on held-out scenes, or clips with --task long; writes JSON",
    ),
    "prepare": ("memv2v_core.training.prepare", "encode a data set for training, from a recipe"),
    "pictures": (
        "devtools.browser.pictures",
        "lay out the shipped workflows, take their thumbnails and the nodes' pictures (Chromium)",
    ),
    "texts": ("devtools.texts", "print what a locale lacks, as JSON to fill"),
    "train": ("memv2v_core.training", "train memory from a recipe; writes an adapter file"),
}


def main(arguments: list[str]) -> int:
    """The exit code of the named subcommand."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # Only these commands pass unknown arguments on.
    if rest and options.command not in ("test", *PASSED_ON):
        parser.error(f"unknown arguments for {options.command}: {' '.join(rest)}")
    # SIGTERM becomes an exception, so that a stopped dev.py stops its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return options.run(options, rest)
    except (SetupError, ServerError, ApiError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    demo = commands.add_parser(
        "demo", help="run a shipped workflow with and without memory in a real ComfyUI"
    )
    add_demo_options(demo)
    demo.set_defaults(run=_demo)

    test = commands.add_parser(
        "test", help="lint, types, then all tests; further arguments go to pytest"
    )
    test.add_argument(
        "--fast", action="store_true", help="the core's quick tests alone, in under a minute"
    )
    test.set_defaults(run=_test)

    serve = commands.add_parser("serve", help="serve ComfyUI with this pack until Ctrl+C")
    serve.add_argument("--port", type=int, default=8188)
    serve.add_argument(
        "--gpu", action="store_true", help="let ComfyUI use the GPU instead of the CPU"
    )
    serve.set_defaults(run=_serve)

    linting = commands.add_parser("lint", help="ruff's rules and format, and mypy")
    linting.add_argument("--fix", action="store_true", help="repair what ruff can, and reformat")
    linting.set_defaults(
        run=lambda options, _: lint(prepare_environment(TEST_MODULES), options.fix)
    )

    metrics = commands.add_parser(
        "metrics", help="set up a metric that runs in a Python of its own, or list them"
    )
    add_metrics_options(metrics)
    metrics.set_defaults(run=lambda options, _: run_metrics(options))

    setup = commands.add_parser("setup", help="only set up the environment")
    setup.set_defaults(run=_setup)

    for command in (demo, test, serve, setup):
        command.add_argument(
            "--comfyui", choices=RELEASES, help="which private ComfyUI, set up first where missing"
        )

    for name, (_, description) in PASSED_ON.items():
        passed_on = commands.add_parser(name, help=description, add_help=False)
        passed_on.set_defaults(run=_pass_on)
    return parser


def _demo(options: argparse.Namespace, _rest: list[str]) -> int:
    tasks = {"depth": run_depth_demo, "turns": run_demo, "long": run_long_demo}
    return tasks[options.task](prepare_environment(version=options.comfyui), options)


def _setup(options: argparse.Namespace, _rest: list[str]) -> int:
    environment = prepare_environment(version=options.comfyui)
    print(f"ComfyUI: {environment.comfyui}\nPython:  {environment.python}")
    return 0


def _test(options: argparse.Namespace, rest: list[str]) -> int:
    environment = prepare_environment(RUNTIME_MODULES + TEST_MODULES, options.comfyui)
    if not options.fast:
        prepare_newest_frontend(environment)
    return run_tests(environment, options.fast, rest)


def _lint(options: argparse.Namespace, _rest: list[str]) -> int:
    return lint(prepare_environment(TEST_MODULES), options.fix)


def _serve(options: argparse.Namespace, _rest: list[str]) -> int:
    environment = prepare_environment(version=options.comfyui)
    models = environment.comfyui / "models"
    extra = [] if environment.is_private else ["--models-directory", str(models)]
    base_dir = DEV_DIR / "serve"
    base_dir.mkdir(parents=True, exist_ok=True)
    print(f"Starting ComfyUI; its log is {base_dir / 'comfyui.log'}", flush=True)
    with running_server(
        environment, base_dir=base_dir, port=options.port, on_cpu=not options.gpu, extra_args=extra
    ) as server:
        print(
            f"ComfyUI with Memory-V2V: {server.url}\nInput and output folders: {base_dir}\nCtrl+C "
            "stops it.",
            flush=True,
        )
        while server.process.poll() is None:
            time.sleep(0.5)
        raise ServerError(
            f"ComfyUI exited with code {server.process.returncode}; its log "
            f"ends:\n{server.log_tail()}"
        )


def _pass_on(options: argparse.Namespace, rest: list[str]) -> int:
    module, _ = PASSED_ON[options.command]
    environment = prepare_environment(RUNTIME_MODULES + TEST_MODULES)
    # In the user's folder: the paths that they typed are relative to it.
    found = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return run_python(environment, ["-m", module, *rest], Path.cwd(), {"PYTHONPATH": found})
