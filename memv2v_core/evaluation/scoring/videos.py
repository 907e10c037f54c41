"""The videos of a suite: found by name, and looked at before anything is measured.

F frames, H rows, W columns.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import torch
from torch.nn.functional import interpolate

from ...clips.clip_files import ClipLook, look_at, read_frames
from ...weights.reading.boundary import Fault, reading
from ...weights.reading.json_text import read_object
from ..making.recipes import seconds_file
from ..suites.methods import FitConfig, MethodConfig
from ..suites.suite import Suite

# As many names as a reader still reads.
_MOST_NAMED = 20


@dataclass(frozen=True)
class ClipVideos:
    """The videos of one method for one clip and seed: one a turn.

    truths: beside each turn, where the suite has truths. looks: of each turn, before any fit.
    Without a fit all have one shape.
    """

    method: str
    clip: str
    seed: int
    turns: tuple[int, ...]
    paths: tuple[Path, ...]
    truths: tuple[Path, ...]
    looks: tuple[ClipLook, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the bytes of all files, which changes where one does."""
        digest = hashlib.sha256()
        for path in (*self.paths, *self.truths):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    @cached_property
    def seconds(self) -> tuple[float, ...] | None:
        """How long each turn took, of the file beside the first one; None without such a file.

        Raises: ValueError for a file that does not say so for every turn.
        """
        path = seconds_file(self.paths[0])
        if not path.is_file():
            return None
        with reading(path, "times of turns", 'write "seconds": [one a turn], or remove it'):
            held = read_object(path, "times").get("seconds")
            if not isinstance(held, list) or len(held) != len(self.turns):
                raise Fault(f"has no list of {len(self.turns)} seconds")
            if not all(map(_is_time, held)):
                raise Fault("has seconds that are no times")
            return tuple(map(float, held))

    def frames(self, fit: FitConfig | None) -> torch.Tensor:
        """(turns, F, 3, H, W) in 0..1."""
        return _stacked(self.paths, fit)

    def true_frames(self, fit: FitConfig | None) -> torch.Tensor | None:
        """The same of the truths; None without them."""
        return _stacked(self.truths, fit) if self.truths else None


def require_times(found: Sequence[ClipVideos]) -> None:
    """Raise ValueError that lists every clip whose turns have no times."""
    missing = [str(seconds_file(one.paths[0])) for one in found if one.seconds is None]
    if missing:
        raise ValueError(
            f"the metric seconds needs {len(missing)} files with times: {_listed(missing)}; write "
            '"seconds": [one a turn] into each, or leave the metric out'
        )


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def find_videos(suite: Suite) -> list[ClipVideos]:
    """Every method's videos, by method, clip and seed.

    Raises: ValueError that lists every missing video, or every video that cannot be scored with the
    others of its clip.
    """
    clips = suite.clips or _clips_of(suite)
    wanted = [
        (method, clip, seed) for method in suite.methods for clip in clips for seed in suite.seeds
    ]
    # Methods share their truths.
    needed = dict.fromkeys(path for key in wanted for path in suite.files(*key))
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} videos are missing: {_listed(missing)}; make "
            "them, or leave their clip, turn or method out of the suite"
        )
    found, faults = [], []
    for method, clip, seed in wanted:
        try:
            found.append(_looked_at(suite, method, clip, seed))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError(f"{len(faults)} clips cannot be scored: {_listed(faults)}")
    return found


def _clips_of(suite: Suite) -> tuple[str, ...]:
    """Names of clips in the first method's folder, in order.

    Raises: ValueError where it has none.
    """
    method = suite.methods[0]
    folder, pattern = suite.root / method.folder, method.file or suite.file
    turn, seed = suite.turns[0], suite.seeds[0]
    # A name that no clip has stands for the clip, so that its places in the pattern are found.
    sample = PurePath(pattern.format(clip="\0", turn=turn, seed=seed)).as_posix()
    first, *rest = map(re.escape, sample.split("\0"))
    again = "".join(f"(?P=clip){part}" for part in rest[1:])
    named = re.compile(f"{first}(?P<clip>[^/]+?){rest[0]}{again}")
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")))
    clips = tuple(match[1] for match in map(named.fullmatch, files) if match)
    if not clips:
        raise ValueError(
            f"{folder} got no video named {pattern!r}, wanted at least one of turn {turn}; correct "
            f"the folder or the file pattern of {method.name!r}"
        )
    return clips


def _looked_at(suite: Suite, method: MethodConfig, clip: str, seed: int) -> ClipVideos:
    paths = tuple(suite.files(method, clip, seed))
    looks = [look_at(path) for path in paths]
    fit = suite.fit
    for path, look in zip(paths, looks, strict=True):
        if fit is not None and look.num_frames < fit.num_frames:
            raise ValueError(
                f"{path} got {look.num_frames} frames, wanted the {fit.num_frames} of the suite's "
                "fit; lower num_frames, or make the video again"
            )
        if fit is None and look != looks[0]:
            raise ValueError(
                f"{path} got {look}, wanted {looks[0]} as in {paths[0].name}; make it again, or "
                "add a fit to the suite"
            )
    count = len(suite.turns)
    return ClipVideos(
        method.name, clip, seed, suite.turns, paths[:count], paths[count:], tuple(looks[:count])
    )


def _stacked(paths: Sequence[Path], fit: FitConfig | None) -> torch.Tensor:
    if fit is None:
        return torch.stack([read_frames(path).frames for path in paths])
    size = (fit.height, fit.width)
    videos = (read_frames(path, fit.num_frames).frames for path in paths)
    return torch.stack(
        [
            interpolate(video, size, mode="bicubic", antialias=True, align_corners=False).clamp(
                0, 1
            )
            for video in videos
        ]
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return "; ".join(names[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
