"""Trains the built-in novel-view model, or any other configuration, and writes it where the pack loads it from.

    python -m memv2v_core.training --folder RUN_FOLDER [--config FILE.yaml] [--key novel_view] [--only-export]

A stopped run goes on where its last checkpoint was.
"""

import argparse
import logging
from pathlib import Path

import torch

from .codec_trainer import train_codec
from .config import load_config
from .export import export_run
from .trainer import train

CONFIG = Path(__file__).parents[1] / "builtin" / "novel_view.yaml"
NAME = "Memory-V2V novel view (rotating cameras)"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--folder", type=Path, default=Path(".dev/training/novel_view"))
    parser.add_argument("--key", default="novel_view", help="name of the files that the pack loads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only-export", action="store_true", help="write the last checkpoint's weights, train nothing")
    arguments = parser.parse_args()
    config = load_config(arguments.config)
    if not arguments.only_export:
        device = torch.device(arguments.device)
        train_codec(config, arguments.folder, device)
        train(config, arguments.folder, device)
    export_run(config, arguments.folder, arguments.key, NAME)


if __name__ == "__main__":
    main()
