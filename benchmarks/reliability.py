"""Kills, full disks, interrupts and long use: what happens to finished work.

    PYTHON benchmarks/reliability.py kills [--kills 200] [--server-kills 10]
    PYTHON benchmarks/reliability.py concurrent [--operations 2000]
    PYTHON benchmarks/reliability.py full-disk [--points 50]
    PYTHON benchmarks/reliability.py interrupts [--count 20]
    PYTHON benchmarks/reliability.py soak [--turns 500] [--plain]
    PYTHON benchmarks/reliability.py scaling [--full]
    PYTHON benchmarks/reliability.py detectors

Each prints a Markdown table, then its failures, and exits with 1 where there are any. Linux only.
Parts that need a ComfyUI use the one of COMFYUI_PATH, or the one that `dev.py setup` made.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

PARTS = ("kills", "concurrent", "full-disk", "interrupts", "soak", "scaling", "detectors")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="part", required=True)
    for name in PARTS:
        module = importlib.import_module(f"benchmarks.endurance.{name.replace('-', '_')}")
        command = commands.add_parser(name, help=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.main)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
