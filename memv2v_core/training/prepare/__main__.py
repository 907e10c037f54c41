"""Prepares a data set for training, or lengthens edited clips for it.

    python -m memv2v_core.training.prepare CONFIG.yaml [--dry-run] [--shard I/N]
    python -m memv2v_core.training.prepare CONFIG.yaml --edited-to FOLDER
    python -m memv2v_core.training.prepare extend CONFIG.yaml [--dry-run] [--shard I/N]

CONFIG.yaml is a recipe with the key `prepare` (or `extend`), or what stands under that key.
`--edited-to` puts the edited clips and their texts into a folder, as `extend` takes them. A stopped
run resumes. Several processes share the work: each is given its shard, counted from 0, or started
by `accelerate launch`. See docs/training_data.md.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from .config import load_part, load_prepare_config
from .dry_run import describe
from .edited_clips import collect_edited
from .extension import ExtensionConfig, extend_clips
from .report import BROKEN_LIST
from .run import prepare
from .selection import Shard, shard_of

_LOG = logging.getLogger(__name__)
_EXTEND = "extend"


def main(words: Sequence[str]) -> int:
    """The exit code: 1 for a configuration that cannot be used, or where nothing was prepared."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    is_extend = list(words[:1]) == [_EXTEND]
    parser = argparse.ArgumentParser(
        prog=f"python -m memv2v_core.training.prepare{' extend' if is_extend else ''}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="a recipe, or its key `prepare` in a file")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the file, as prepare.limit=100; may be repeated",
    )
    parser.add_argument("--shard", help="I/N: this process is number I of N, counted from 0")
    if not is_extend:
        parser.add_argument(
            "--edited-to", type=Path, help="only put the edited clips into this folder"
        )
    arguments = parser.parse_args(words[1:] if is_extend else words)
    try:
        shard = shard_of(arguments.shard)
        if is_extend:
            return _extend(arguments, shard)
        if arguments.edited_to is not None:
            return _collect(arguments)
        return _prepare(arguments, shard)
    except (ValueError, OSError) as error:
        _LOG.error("error: %s", " ".join(str(error).split()))
    except torch.cuda.OutOfMemoryError:
        _LOG.error("error: the GPU's memory is full; close other programs, or set is_tiled: true")
    return 1


def _prepare(arguments: argparse.Namespace, shard: Shard) -> int:
    config = load_prepare_config(arguments.config, arguments.set)
    if arguments.dry_run:
        return 0 if describe(config, shard) else 1
    outcome = prepare(config, shard)
    _LOG.info("%s has %d items now", config.output, outcome.num_items)
    if outcome.broken:
        _LOG.info("%d items are broken, see %s", len(outcome.broken), config.output / BROKEN_LIST)
    # Another process may still be at its first item, so an empty share alone is no failure.
    if outcome.num_items == 0 and (outcome.broken or shard.count == 1):
        _LOG.error("error: nothing could be prepared; correct the data or the configuration")
        return 1
    return 0


def _collect(arguments: argparse.Namespace) -> int:
    config = load_prepare_config(arguments.config, arguments.set)
    count = collect_edited(config, arguments.edited_to)
    _LOG.info("%s has %d edited clips with their texts", arguments.edited_to, count)
    return 0 if count else 1


def _extend(arguments: argparse.Namespace, shard: Shard) -> int:
    config = load_part(ExtensionConfig, _EXTEND, arguments.config, arguments.set)
    report = extend_clips(config, (shard.index, shard.count), arguments.dry_run)
    is_in_vain = report.broken and report.num_finished + report.num_extended == 0
    return 1 if is_in_vain else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
