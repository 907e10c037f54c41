"""One metric over the turns of one clip."""

import hashlib
import itertools
import json

import torch

from ..metrics.metric import Batch, Metric
from .store import Values
from .suite import Suite
from .videos import ClipVideos


def subjects(metric: Metric, turns: tuple[int, ...]) -> list[str]:
    """What the metric measures, as in tables: "1" for a turn, "1-2" for a pair."""
    if metric.subject == "video":
        return [str(turn) for turn in turns]
    return [f"{first}-{second}" for first, second in itertools.combinations(turns, 2)]


def measure(metric: Metric, videos: ClipVideos, suite: Suite, device: torch.device) -> Values:
    """Every value of the metric for this clip.

    Raises: ValueError naming the clip and what is wrong.
    """
    frames, truths = videos.frames(suite.fit), videos.true_frames(suite.fit)
    look, aspect = videos.look, videos.look.width / videos.look.height
    paths = [suite.camera(turn, look.num_frames, aspect) for turn in videos.turns]
    cameras = [path for path in paths if path is not None]
    source = suite.camera(None, look.num_frames, aspect)
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
        source_cameras=None if source is None else [source] * len(firsts),
        frame_rate=float(look.rate),
    )
    try:
        measured = metric(batch)
    except ValueError as error:
        raise ValueError(f"{videos.method}, clip {videos.clip!r}: {error}") from error
    names = [column.name for column in metric.columns]
    rows = zip(subjects(metric, videos.turns), measured.tolist(), strict=True)
    return {subject: dict(zip(names, row, strict=True)) for subject, row in rows}


def fingerprint(metric: Metric, videos: ClipVideos, suite: Suite) -> str:
    """What the values depend on: the videos' bytes, the metric, the fit and the cameras."""
    facts = {
        "videos": videos.fingerprint(),
        "turns": videos.turns,
        "metric": metric.identity,
        "columns": [column.name for column in metric.columns],
        "fit": str(suite.fit),
        "cameras": str(suite.cameras),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
