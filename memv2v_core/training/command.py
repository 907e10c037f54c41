"""Trains memory, and writes an adapter that the nodes load, or a whole small model.

    accelerate launch -m memv2v_core.training RECIPE [--folder RUN] [--set optim.steps=100]
    python -m memv2v_core.training RECIPE --dry-run [--gpus 8 --tflops 400 --gb 80]

RECIPE is a YAML file or the name of a shipped recipe. An interrupted run goes on from its last
checkpoint; the same command starts it again.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..strict_yaml import as_yaml
from .codec_trainer import train_codec
from .config.recipes import recipe_names
from .config.run import TrainConfig, changed_config
from .cost.phase import Machine
from .cost.report import cost_report
from .export import ADAPTER_FILE, export_adapter, export_run
from .launch import new_accelerator, run_recipe
from .warm_start import start_from_builtin

log = logging.getLogger("memv2v_core.training")
RUNS = Path("training_runs")
NAMES = {
    "novel_view": "Memory-V2V novel view (rotating cameras)",
    "text_edit": "Memory-V2V text-guided editing (rendered clips)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command."""
    options = _parser().parse_args(arguments)
    try:
        config = changed_config(options.recipe, _changes(options))
        if options.print_config:
            sys.stdout.write(as_yaml(config))
        elif options.dry_run:
            machine = Machine(options.gpus, options.tflops, options.gb)
            sys.stdout.write(cost_report(config, machine))
        else:
            _run(config, options)
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from the last checkpoint\n")
        return 130
    return 0


def _run(config: TrainConfig, options: argparse.Namespace) -> None:
    folder = options.folder or RUNS / options.recipe.stem
    accelerator = new_accelerator(config, folder, options.cpu)
    level = logging.INFO if accelerator.is_main_process else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout, force=True)
    if options.start_from is not None:
        with accelerator.main_process_first():
            start_from_builtin(config, folder, options.start_from)
    if not options.only_export:
        if config.base.kind == "new":
            with accelerator.main_process_first():
                train_codec(config, folder, accelerator.device)
        run_recipe(config, folder, accelerator)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    if options.key is not None:
        export_run(config, folder, options.key, _name_of(config))
        log.info("the built-in model %s is written", options.key)
    elif config.trained.base is None:
        path = options.output or folder / ADAPTER_FILE
        export_adapter(config, folder, options.recipe.stem, path)
        log.info("%s: put it into ComfyUI's models/memv2v and choose it as adapter", path)
    else:
        log.info("%s holds the run; --only-export --key NAME makes a built-in model of it", folder)


def _name_of(config: TrainConfig) -> str:
    if config.base.kind == "new" and config.base.model.stream_identity == "source_id":
        return "Memory-V2V editing with references (rendered clips)"
    if config.scenes is not None and config.scenes.solid_share:
        return "Memory-V2V novel view (scenes with depth)"
    return NAMES[config.task]


def _changes(options: argparse.Namespace) -> list[str]:
    changes = list(options.set)
    if options.minutes is not None:
        changes += ["optim.steps=null", f"optim.minutes={options.minutes}"]
    return changes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m memv2v_core.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shipped = ", ".join(recipe_names())
    parser.add_argument(
        "recipe",
        type=Path,
        nargs="?",
        default=Path("novel_view"),
        help=f"a YAML file, or one of {shipped}; novel_view if not given",
    )
    parser.add_argument("--folder", type=Path, help=f"of the run; {RUNS}/RECIPE if not given")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe, as optim.steps=100; may be repeated",
    )
    parser.add_argument(
        "--minutes", type=float, help="length of the run: schedule and last checkpoint fit into it"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print every value, and train nothing"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what is trained and what it costs; load and train nothing",
    )
    machine = Machine()
    parser.add_argument(
        "--gpus",
        type=int,
        default=machine.gpus,
        help=f"of --dry-run: GPUs that train together, {machine.gpus} if not given",
    )
    parser.add_argument(
        "--tflops",
        type=float,
        default=machine.tflops,
        help=f"of --dry-run: TFLOP that a GPU does a second, {machine.tflops:g} if not given",
    )
    parser.add_argument(
        "--gb",
        type=float,
        default=machine.gib,
        help=f"of --dry-run: GiB of memory of a GPU, {machine.gib:g} if not given",
    )
    parser.add_argument(
        "--only-export", action="store_true", help="write the files of the last checkpoint"
    )
    parser.add_argument("--output", type=Path, help="the adapter file to write")
    parser.add_argument(
        "--key", help="write a whole small model into the pack under this name, as a built-in one"
    )
    parser.add_argument(
        "--start-from", help="begin a new model with the weights of this built-in model"
    )
    parser.add_argument(
        "--cpu",
        action="store_true",
        default=not torch.cuda.is_available(),
        help="train on the CPU even where there is a GPU",
    )
    return parser
