"""Makes the videos of a suite whose methods are made here, each once."""

import logging
from pathlib import Path
from typing import Protocol

import torch

from ..progress import told
from ..shares import WHOLE, Share
from ..suites.methods import MethodConfig
from ..suites.suite import Suite
from .edits import EditMaker
from .recipes import config_of, seconds_file, with_made_videos
from .views import ViewMaker
from .workflows import WorkflowMaker

log = logging.getLogger(__name__)


class Maker(Protocol):
    """Makes the videos of one clip."""

    def check(self) -> None:
        """Raise ValueError for settings that the models cannot take."""
        ...

    def make(self, method: MethodConfig, clip: str, seed: int, files: list[Path]) -> None:
        """Write a clip's turns, their times, and its true views where it knows them.

        files: of the turns, then of the true views.
        """
        ...


def _maker(suite: Suite, made: Suite, device: torch.device) -> Maker:
    if suite.sources is not None:
        return WorkflowMaker(suite, made)
    return EditMaker(suite, device) if suite.families else ViewMaker(suite, device)


def make_videos(suite: Suite, folder: Path, device: torch.device, share: Share = WHOLE) -> None:
    """Make the videos of a suite that are not there yet, as far as they are this process's share.

    Raises: ValueError for settings that a model cannot take.
    """
    if not suite.is_made_here:
        return
    made = with_made_videos(suite, folder)
    maker = _maker(suite, made, device)
    maker.check()
    clips = made.clips[share.rank :: share.count]
    # What users bring is theirs to complete.
    num_needed = len(suite.turns) * (2 if suite.num_scenes else 1)
    for method, place in zip(suite.methods, made.methods, strict=True):
        if config_of(method) is None:
            continue
        wanted = [
            (clip, seed, [*made.files(place, clip, seed)][:num_needed])
            for clip in clips
            for seed in suite.seeds
        ]
        to_do = [
            item
            for item in wanted
            if not all(path.is_file() for path in (*item[2], seconds_file(item[2][0])))
        ]
        if not to_do:
            log.info("%s: all videos are there", method.name)
            continue
        for clip, seed, files in told(to_do, log, method.name, "clip"):
            for path in files:
                path.parent.mkdir(parents=True, exist_ok=True)
            maker.make(method, clip, seed, files)
