"""`score SUITE.yaml` scores videos of any method; else `--task` chooses what is measured of a
built-in model. Every other argument goes to that measurement.
"""

import argparse
import sys

from . import side_by_side
from .depth import run as depth_run
from .long_video import run as long_video_run
from .novel_view import run
from .scoring import command

_TASKS = {
    "novel_view": run,
    "depth": depth_run,
    "long": long_video_run,
    "compare": side_by_side,
}
_SCORE = "score"


def main(arguments: list[str]) -> int:
    """The exit code of the command."""
    if arguments[:1] == [_SCORE]:
        return command.main(arguments[1:])
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--task", choices=tuple(_TASKS), default="novel_view")
    options, rest = parser.parse_known_args(arguments)
    try:
        _TASKS[options.task].main(rest)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
