"""Whether the segments of a long edited video show the same edit, where the clip is known.

The measures of `segment_looks` as a metric, one row a video.
"""

import math
from collections.abc import Sequence

import torch

from .metric import Batch, Column, Need, Subject
from .segment_looks import (
    Look,
    SegmentedScene,
    background_psnr,
    difference_among,
    mean_colour,
)

# Colours of independent true answers are rarely this close; evaluation counts how often.
LEAK_DISTANCE = 0.2


class SegmentAgreement:
    """How much the edit differs between the segments of one world, and what else it did.

    Colour and shape: mean over worlds of the mean over pairs of segments; see
    `segment_looks.difference_among`. Shape is NaN where the instruction keeps it. Leak: whether the
    mean colours of two worlds are closer than `LEAK_DISTANCE`, though nothing ties them; NaN
    unless there are two worlds. Edited: segments that show an edit, of those that show the object.
    Background: PSNR against the source outside the object's box.
    """

    identity = f"looks of segments, leak below {LEAK_DISTANCE:g}"
    columns: tuple[Column, ...] = (
        Column("colour difference", is_better_high=False),
        Column("shape difference", is_better_high=False),
        Column("leak", "%", is_better_high=False),
        Column("edited", "%"),
        Column("background", "dB"),
    )
    subject: Subject = "video"
    needs: frozenset[Need] = frozenset({"scene"})

    def __call__(self, batch: Batch) -> torch.Tensor:
        """(B, 5) float64.

        Raises: ValueError for missing scenes, and for videos of another length or size than theirs.
        """
        if batch.scenes is None or len(batch.scenes) != len(batch.videos):
            raise ValueError(
                "segment_looks got videos without their scenes, wanted clips whose objects are "
                "known; use it in a suite with families"
            )
        rows = [
            _row(video.cpu(), scene)
            for video, scene in zip(batch.videos, batch.scenes, strict=True)
        ]
        return torch.tensor(rows, dtype=torch.float64)


def _row(video: torch.Tensor, segmented: SegmentedScene) -> list[float]:
    source = segmented.scene.source
    if video.shape != source.shape:
        raise ValueError(
            f"segment_looks got a video of shape {tuple(video.shape)}, wanted "
            f"{tuple(source.shape)} as its source; leave out the suite's fit"
        )
    looks = segmented.looks(video)
    worlds = [
        [look for look, world in zip(looks, segmented.world_of_segment, strict=True) if world == w]
        for w in sorted(set(segmented.world_of_segment))
    ]
    colours, shapes = zip(*map(difference_among, worlds), strict=True)
    seen = [look for look in looks if look is not None]
    return [
        _mean(colours),
        _mean(shapes) if segmented.has_open_shape else math.nan,
        _leak(worlds),
        100 * sum(look.is_edited for look in seen) / len(seen) if seen else math.nan,
        background_psnr(video, segmented.scene),
    ]


def _leak(worlds: Sequence[Sequence[Look | None]]) -> float:
    if len(worlds) != 2 or not all(any(look is not None for look in world) for world in worlds):
        return math.nan
    first, second = map(mean_colour, worlds)
    return 100.0 * float((first - second).norm() < LEAK_DISTANCE)


def _mean(values: Sequence[float]) -> float:
    """Of those that exist; NaN without any."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
