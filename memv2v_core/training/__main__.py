"""Trains a built-in model, or any other configuration, and writes its weights into the pack.

    python -m memv2v_core.training [--task novel_view | text_edit] [--folder RUN_FOLDER]
        [--config FILE.yaml] [--key NAME] [--start-from BUILTIN] [--only-export]

An interrupted run resumes from its last checkpoint.
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch

from ..builtin.bundle import builtin_names
from .codec_trainer import train_codec
from .config import load_config
from .export import export_run
from .trainer import train
from .warm_start import start_from_builtin

CONFIGS = Path(__file__).parent / "configs"
NAMES = {
    "novel_view": "Memory-V2V novel view (rotating cameras)",
    "text_edit": "Memory-V2V text-guided editing (rendered clips)",
}


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--task", choices=NAMES, default="novel_view", help="whose configuration, folder and key"
    )
    parser.add_argument(
        "--config", type=Path, help="instead of the task's own in memv2v_core/training/configs"
    )
    parser.add_argument("--folder", type=Path, help="of the run; .dev/training/TASK if not given")
    parser.add_argument(
        "--key", help="name of the files that the pack loads; the task's if not given"
    )
    parser.add_argument(
        "--start-from",
        choices=builtin_names(),
        help="train this built-in model on, in a new folder",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--only-export",
        action="store_true",
        help="write the last checkpoint's weights, train nothing",
    )
    arguments = parser.parse_args()
    config = load_config(arguments.config or CONFIGS / f"{arguments.task}.yaml")
    folder = arguments.folder or Path(".dev/training") / config.task
    if not arguments.only_export:
        device = torch.device(arguments.device)
        if arguments.start_from is not None:
            # A trained model needs no first phase.
            config = replace(config, first=None)
            start_from_builtin(config, folder, arguments.start_from)
        train_codec(config, folder, device)
        for phase in config.phases:
            train(phase, folder, device)
    export_run(config, folder, arguments.key or config.task, NAMES[config.task])


if __name__ == "__main__":
    main()
