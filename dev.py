"""The pack's commands: demo, test, serve, evaluate, metrics, prepare, train, lint, setup.

Each sets up what it needs first.

Needs CPython 3.10 to 3.14 and nothing else; `python dev.py COMMAND --help` lists a command's
options.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - says so before newer syntax is read
    sys.exit("dev.py needs CPython 3.10 or newer, this is " + sys.version.split()[0])

from devtools.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
