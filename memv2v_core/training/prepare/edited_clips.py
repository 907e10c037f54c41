"""The edited clips of a data set in one folder, each with its text: what is lengthened."""

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from ...atomic_files import make_folder, replace_file, temp_beside, write_atomically
from .config import PrepareConfig
from .readers.raw import RawItem, RawVideo
from .readers.registry import reader_of
from .selection import select_items

_LOG = logging.getLogger(__name__)


def collect_edited(config: PrepareConfig, folder: Path) -> int:
    """Put NAME.mp4 and NAME.txt of every edit into `folder`; how many there are.

    Clips are linked where the disk allows it, else copied.

    Raises: ValueError for data that has no edits in files.
    """
    # The recipe may name the lengthened clips before there are any.
    reader = reader_of(_without_extensions(config))
    if reader.task != "text_edit" or config.dataset.kind == "procedural":
        raise ValueError(f"{config.dataset.title} got no clips of edits, wanted some to lengthen")
    make_folder(folder)
    count = 0
    for item in select_items(config, reader.items()):
        try:
            edited = _edited_of(item)
        except ValueError as error:
            _LOG.info("broken: %s: %s", item.name, error)
            continue
        assert edited.path is not None, "clips of files have paths"
        _place(edited.path, folder / f"{item.name}.mp4")
        write_atomically(folder / f"{item.name}.txt", edited.caption.encode("utf-8"))
        count += 1
    return count


def _edited_of(item: RawItem) -> RawVideo:
    (edited,) = (video for video in item.videos() if video.role == "edited")
    return edited


def _without_extensions(config: PrepareConfig) -> PrepareConfig:
    dataset = config.dataset
    if dataset.senorita is not None:
        dataset = replace(dataset, senorita=replace(dataset.senorita, extended=None))
    if dataset.folder is not None:
        dataset = replace(dataset, folder=replace(dataset.folder, extended=None))
    return replace(config, dataset=dataset)


def _place(clip: Path, target: Path) -> None:
    """Put `clip` at `target`, by a link where the disk allows it."""
    if target.exists():
        return
    temp = temp_beside(target)
    try:
        os.link(clip.resolve(), temp)
    except OSError:
        # Another disk, or one that has no links.
        shutil.copyfile(clip, temp)
    replace_file(temp, target)
