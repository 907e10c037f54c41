"""`--task` chooses what is measured; every other argument goes to that measurement."""

import argparse

from .long_video import run as long_video_run
from .novel_view import run

_TASKS = {"novel_view": run, "long": long_video_run}


def main() -> None:
    """The command line of both evaluations."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--task", choices=tuple(_TASKS), default="novel_view")
    options, rest = parser.parse_known_args()
    _TASKS[options.task].main(rest)


if __name__ == "__main__":
    main()
