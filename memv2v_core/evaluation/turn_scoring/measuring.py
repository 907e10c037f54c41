"""The light metrics over the turns of a session: what can be measured is, the rest is named.

F frames, H rows, W columns.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from ...cache.entry import Segment
from ...cameras.trajectory import CameraTrajectory
from ..metrics.metric import Batch, Metric
from ..metrics.psnr import Psnr
from ..session_report import ShownTurn
from ..verdicts import Verdict, compare_pair, named_pair, stride_for, thinned
from .report import (
    DIFFERENCE,
    PSNR,
    SHARE,
    STEADINESS,
    NetworkName,
    TurnScores,
    agreement,
    closest,
    least_steady,
)

# Paths of one preset differ by less, in pose units and in shares of the picture.
_SAME_PATH = 1e-4
# How many pairs a reason names one by one.
_MOST_NAMED = 3

# Makes a metric with its network. Raises ValueError naming what is missing.
Loader = Callable[[], Metric]


@dataclass(frozen=True, eq=False)
class ScoredVideo:
    """A video to measure: its name, and its frames (F, 3, H, W) in [0, 1].

    camera: one per frame; None where nobody knows it. segment: its place in a long video; None for
    a whole clip.
    """

    name: str
    frames: torch.Tensor
    camera: CameraTrajectory | None = None
    segment: Segment | None = None


def score_turns(
    videos: Sequence[ScoredVideo],
    loaders: Mapping[NetworkName, Loader],
    truth: ScoredVideo | None = None,
    source_camera: CameraTrajectory | None = None,
    most_frames: int | None = None,
    before_each: Callable[[], None] = lambda: None,
) -> TurnScores:
    """Every number that can be measured, and why others cannot.

    videos: the turns in their order, each with a name of its own.
    loaders: the networks to measure with; one that is not here is left out without a word.
    truth: what the videos should be. With its camera only videos along the same path are compared
    with it. LPIPS compares with it too; without a truth it compares each video with the one before.
    source_camera: geometry then counts only what the source never showed.
    most_frames: of each video that geometry compares, spread evenly; None for all. A warp of every
    frame of every pair takes long.
    before_each: called before every measurement, so that a user can stop.

    Raises: ValueError without videos, and when nothing at all can be measured.
    """
    if not videos:
        raise ValueError(
            "there are 0 videos to score, wanted 1 or more; finish a turn, or connect a video"
        )
    scores = _Scores(videos, before_each)
    for name in STEADINESS:
        if name in loaders:
            scores.add_networks(name, loaders[name])
    if truth is not None:
        scores.add_truth(truth, loaders.get("LPIPS"))
    elif "LPIPS" in loaders:
        scores.add_neighbours(loaders["LPIPS"])
    scores.add_geometry(source_camera, most_frames)
    return scores.result(source_camera is not None)


class _Scores:
    """Collects numbers, reasons and notes while the metrics run."""

    def __init__(self, videos: Sequence[ScoredVideo], before_each: Callable[[], None]) -> None:
        self.videos, self.before_each = videos, before_each
        self.turns: dict[str, dict[str, float]] = {video.name: {} for video in videos}
        self.pairs: dict[str, dict[str, float]] = {}
        self.verdicts: list[Verdict] = []
        self.not_measured: list[str] = []
        self.notes: list[str] = []

    def add_networks(self, name: str, load: Loader) -> None:
        """Numbers of each video by itself."""
        metric = self._loaded(name, load)
        if metric is None:
            return
        for video in self.videos:
            if len(video.frames) < 2:
                self.not_measured.append(f"{name} of {video.name}: it is one frame, wanted two")
                continue
            self._measure(self.turns[video.name], f"{name} of {video.name}", metric, video.frames)

    def add_truth(self, truth: ScoredVideo, load_lpips: Loader | None) -> None:
        """PSNR, and LPIPS, of each video against the truth."""
        named: list[tuple[str, Metric]] = [("PSNR", Psnr())]
        lpips = None if load_lpips is None else self._loaded("LPIPS", load_lpips)
        if lpips is not None:
            named.append(("LPIPS", lpips))
        words = " and ".join(name for name, _ in named)
        for video in self.videos:
            if reason := _differs_from(truth, video):
                self.not_measured.append(f"{words} of {video.name}: {reason}")
                continue
            count = min(len(video.frames), len(truth.frames))
            for name, metric in named:
                what = f"{name} of {video.name} and the truth"
                row, pair = self.turns[video.name], (video.frames[:count], truth.frames[:count])
                self._measure(row, what, metric, *pair)
            if len(video.frames) != len(truth.frames):
                self.notes.append(
                    f"{video.name} has {len(video.frames)} frames, truth {len(truth.frames)}: the "
                    f"first {count} are compared"
                )
        if truth.camera is None:
            self.notes.append("every video counts as filmed along the path of the truth")

    def add_neighbours(self, load: Loader) -> None:
        """LPIPS of each video and the one before."""
        if len(self.videos) < 2:
            self.not_measured.append("LPIPS: it needs two videos, or a truth")
            return
        metric = self._loaded("LPIPS", load)
        if metric is None:
            return
        apart, other_views = _Reasons("LPIPS"), False
        for first, second in itertools.pairwise(self.videos):
            pair = named_pair(first.name, second.name)
            if reason := _not_comparable(first, second):
                apart.add(pair, reason)
                continue
            count = min(len(first.frames), len(second.frames))
            videos = second.frames[:count], first.frames[:count]
            self._measure(self._pair(pair), f"LPIPS of {pair}", metric, *videos)
            other_views |= _paths_differ(first.camera, second.camera)
        self.not_measured += apart.lines()
        if other_views:
            self.notes.append(
                "LPIPS compares pixel by pixel: between turns of two paths it also says how far "
                "their views lie apart"
            )

    def add_geometry(self, source_camera: CameraTrajectory | None, most_frames: int | None) -> None:
        """The difference of every two videos where both look at the same place."""
        longest = max(len(video.frames) for video in self.videos)
        # One stride for all, so that equal frames are compared.
        stride = 1 if most_frames is None else stride_for(longest, most_frames)
        filmed = [
            (video, thinned(ShownTurn(video.name, video.frames, video.camera), stride))
            for video in self.videos
            if video.camera is not None
        ]
        unknown = [video.name for video in self.videos if video.camera is None]
        if unknown and len(self.videos) > 1:
            self.not_measured.append(
                f"the difference of {', '.join(unknown)} and others: nobody knows the camera; a "
                "turn of the cache brings its own"
            )
        apart = _Reasons("the difference")
        for (video_a, first), (video_b, second) in itertools.combinations(filmed, 2):
            self.before_each()
            pair = named_pair(first.name, second.name)
            if reason := _not_comparable(video_a, video_b):
                apart.add(pair, reason)
                continue
            verdict = compare_pair(first, second, source_camera)
            result = verdict.disagreement
            if result is None:
                self.not_measured.append(verdict.text)
                continue
            self.verdicts.append(verdict)
            share = result.num_pixels / result.mask.numel()
            self._pair(pair).update({DIFFERENCE: result.mae, PSNR: result.psnr, SHARE: share})
            self.notes += [verdict.note] if verdict.note else []
        self.not_measured += apart.lines()
        if self.verdicts and stride > 1:
            self.notes.append(f"the difference is measured on every {stride}. frame")

    def result(self, leaves_out_source: bool) -> TurnScores:
        """All of it, with the verdict.

        Raises: ValueError when no number was measured.
        """
        rows = (*self.turns.values(), *self.pairs.values())
        if all(math.isnan(value) for row in rows for value in row.values()):
            names = ", ".join(video.name for video in self.videos)
            why = "; ".join(self.not_measured) or (
                "a single video needs networks or a truth; turn on networks, or connect another "
                "turn or a truth"
            )
            raise ValueError(f"nothing of {names} could be measured: {why}")
        notes, reasons = tuple(dict.fromkeys(self.notes)), tuple(self.not_measured)
        # LPIPS came before geometry: the pairs get the order of their turns again.
        every = [named_pair(a.name, b.name) for a, b in itertools.combinations(self.videos, 2)]
        pairs = {name: self.pairs[name] for name in every if name in self.pairs}
        return TurnScores(self.turns, pairs, self._verdict(), reasons, notes, leaves_out_source)

    def _verdict(self) -> str:
        said = [least_steady(self.turns), closest(self.turns)]
        agrees = agreement(self.verdicts)
        num_filmed = sum(video.camera is not None for video in self.videos)
        # Frames without a camera are no failure of geometry, where another metric says something.
        if not agrees and (num_filmed > 1 or not any(said)):
            agrees = "no two videos could be compared where both look"
        return "; ".join(filter(None, (agrees, *said)))

    def _pair(self, name: str) -> dict[str, float]:
        return self.pairs.setdefault(name, {})

    def _loaded(self, name: str, load: Loader) -> Metric | None:
        """The metric; None where its network is missing, which is told."""
        self.before_each()
        try:
            return load()
        except ValueError as error:
            self.not_measured.append(f"{name}: {error}")
            return None

    def _measure(
        self,
        row: dict[str, float],
        what: str,
        metric: Metric,
        video: torch.Tensor,
        truth: torch.Tensor | None = None,
    ) -> None:
        """Put the metric's numbers into a row, or its reason into the list."""
        self.before_each()
        truths = None if truth is None else truth[None]
        try:
            (values,) = metric(Batch(video[None], truths=truths)).tolist()
        except ValueError as error:
            self.not_measured.append(f"{what}: {error}")
            return
        titles = [" ".join(filter(None, (each.name, each.unit))) for each in metric.columns]
        row.update(zip(titles, values, strict=True))


class _Reasons:
    """Why pairs were left out, the pairs of one reason together: a long video has many pairs."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.pairs: dict[str, list[str]] = {}

    def add(self, pair: str, reason: str) -> None:
        """Leave out a pair."""
        self.pairs.setdefault(reason, []).append(pair)

    def lines(self) -> list[str]:
        """One line a reason."""
        return [
            f"{self.what} of {self._named(pairs)}: {reason}" for reason, pairs in self.pairs.items()
        ]

    def _named(self, pairs: list[str]) -> str:
        return ", ".join(pairs) if len(pairs) <= _MOST_NAMED else f"{len(pairs)} pairs"


def _not_comparable(first: ScoredVideo, second: ScoredVideo) -> str:
    """Why two videos cannot be laid over each other; "" where they can."""
    (rows_a, columns_a), (rows_b, columns_b) = first.frames.shape[-2:], second.frames.shape[-2:]
    if (rows_a, columns_a) != (rows_b, columns_b):
        return (
            f"{first.name} has frames of {columns_a}x{rows_a}, {second.name} of "
            f"{columns_b}x{rows_b}; scale one of them with ComfyUI's Upscale Image"
        )
    a, b = first.segment, second.segment
    if a is None or b is None or (a.start, a.num_frames) == (b.start, b.num_frames):
        return ""
    return "they show different parts of a long video"


def _differs_from(truth: ScoredVideo, video: ScoredVideo) -> str:
    """Why the truth says nothing of a video; "" where it does."""
    if reason := _not_comparable(truth, ScoredVideo(video.name, video.frames)):
        return reason
    if _paths_differ(truth.camera, video.camera):
        return "its camera does not follow truth_camera"
    return ""


def _paths_differ(first: CameraTrajectory | None, second: CameraTrajectory | None) -> bool:
    """Whether two known paths differ over the frames that both have; an unknown one does not."""
    if first is None or second is None:
        return False
    count = min(first.num_frames, second.num_frames)
    pairs = (
        (first.c2w, second.c2w),
        (first.intrinsics, second.intrinsics),
        (first.moments(), second.moments()),
    )
    return any(
        bool(((a[:count].double() - b[:count].double()).abs() > _SAME_PATH).any()) for a, b in pairs
    )
