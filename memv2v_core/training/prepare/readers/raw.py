"""What every reader gives: items that are listed at once and decoded when they are asked for.

F frames, H rows, W columns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ....cameras.trajectory import CameraTrajectory
from ....vocabulary import Task
from ...data.prepared_folder import VideoRole


@dataclass(frozen=True)
class ClipSize:
    """Pixels and frames that every video is brought to."""

    num_frames: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class RawVideo:
    """One video of a data set, or several segments of one.

    name: safe as a file's stem, unique within the role.
    frames: from the first frame (0, 1 ...) that it is called with, as many as a prepared video has:
    (F, 3, H, W) in 0..1, of any size.
    cameras: of every frame from the first on; called with width divided by height of the frames.
    count_segments: how many prepared videos it holds, one after the other; None: one.
    first: the frame at which the first segment begins.
    path: its file, for reports.
    All three calls raise ValueError where the data is broken.
    """

    name: str
    role: VideoRole
    frames: Callable[[int], torch.Tensor]
    caption: str = ""
    cameras: Callable[[float], CameraTrajectory] | None = None
    count_segments: Callable[[], int] | None = None
    first: int = 0
    path: Path | None = None


@dataclass(frozen=True, eq=False)
class RawItem:
    """A scene with its views, or one edit.

    videos: gives them; raises ValueError where a file or a text is missing.
    aliases: other names by which a list of names may call it.
    """

    name: str
    videos: Callable[[], tuple[RawVideo, ...]]
    aliases: tuple[str, ...] = ()


class Reader(Protocol):
    """Lists one data set, in an order that never changes, without looking at each file."""

    @property
    def task(self) -> Task:
        """The task that the data is for."""
        ...

    def items(self) -> Iterator[RawItem]:
        """Every item.

        Raises: ValueError where the folder is no data set of this kind.
        """
        ...


def require_folder(root: Path, what: str) -> None:
    """Raise ValueError unless `root` is a folder. what: the content that is wanted."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder, wanted {what}; check its name")
