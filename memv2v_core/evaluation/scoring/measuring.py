"""One metric over the turns of one clip."""

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ...cameras.trajectory import CameraTrajectory
from ..metrics.metric import Batch, Metric
from ..metrics.segment_looks import SegmentedScene
from ..suites.suite import Suite
from .store import Values
from .videos import ClipVideos

# The known facts about a clip, by its name.
SceneOf = Callable[[str], SegmentedScene]


def subjects(metric: Metric, turns: tuple[int, ...]) -> list[str]:
    """What the metric measures, as in tables: "1" for a turn, "1-2" for a pair."""
    if metric.subject == "video":
        return [str(turn) for turn in turns]
    return [f"{first}-{second}" for first, second in itertools.combinations(turns, 2)]


def measure(
    metric: Metric,
    videos: ClipVideos,
    suite: Suite,
    device: torch.device,
    scene_of: SceneOf | None = None,
) -> Values:
    """Every value of the metric for this clip.

    scene_of: knows the scene of each clip; None where nobody does.

    Raises: ValueError naming the clip and what is wrong.
    """
    frames, truths = videos.frames(suite.fit), videos.true_frames(suite.fit)
    cameras = _cameras(videos, suite, videos.turns)
    sources = _cameras(videos, suite, [None] * len(videos.turns))
    count = len(videos.turns)
    pairs = list(itertools.combinations(range(count), 2))
    firsts, seconds = list(range(count)), None
    if metric.subject == "pair":
        firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]

    def chosen(rows: list[int]) -> torch.Tensor:
        return frames[rows].to(device)

    batch = Batch(
        videos=chosen(firsts),
        others=None if seconds is None else chosen(seconds),
        truths=None if truths is None else truths[firsts].to(device),
        cameras=[cameras[row] for row in firsts] if cameras else None,
        other_cameras=[cameras[row] for row in seconds] if cameras and seconds else None,
        source_cameras=[sources[row] for row in firsts] if sources else None,
        scenes=None if scene_of is None else [scene_of(videos.clip)] * len(firsts),
        seconds=None if videos.seconds is None else [videos.seconds[row] for row in firsts],
        frame_rate=float(videos.looks[0].rate),
    )
    try:
        measured = metric(batch)
    except ValueError as error:
        raise ValueError(f"{videos.method}, clip {videos.clip!r}: {error}") from error
    names = [column.name for column in metric.columns]
    rows = zip(subjects(metric, videos.turns), measured.tolist(), strict=True)
    return {subject: dict(zip(names, row, strict=True)) for subject, row in rows}


def _cameras(
    videos: ClipVideos, suite: Suite, turns: Sequence[int | None]
) -> list[CameraTrajectory]:
    """The path of each video, over the frames that are scored; none without cameras.

    A path belongs to the whole video in its own shape: a fit keeps its first frames, and squeezes
    the pictures.
    """
    cameras = []
    for turn, look in zip(turns, videos.looks, strict=True):
        path = suite.camera(turn, look.num_frames, look.width / look.height)
        if path is None:
            return []
        count = look.num_frames if suite.fit is None else suite.fit.num_frames
        cameras.append(replace(path, c2w=path.c2w[:count], intrinsics=path.intrinsics[:count]))
    return cameras


def fingerprint(metric: Metric, videos: ClipVideos, suite: Suite) -> str:
    """What the values depend on: the videos' bytes, the metric, the fit and the cameras."""
    facts: dict[str, object] = {
        "videos": videos.fingerprint,
        "turns": videos.turns,
        "metric": metric.identity,
        "columns": [column.name for column in metric.columns],
        "fit": str(suite.fit),
        "cameras": suite.camera_facts,
    }
    if "time" in metric.needs:
        facts["seconds"] = videos.seconds
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
