"""From the arms of one batch of long clips to numbers for every clip."""

import math
from collections.abc import Sequence

import torch

from ..metrics.segment_looks import (
    Look,
    background_psnr,
    difference_among,
    difference_between,
    mean_colour,
    segment_look,
)
from .arms import AS_IN_THE_PAPER, LongBatch, edit_alone, edit_by_fifo, edit_with_memory
from .clips import Family, LongClip

# Colours of independent true answers are rarely this near; `leak_answers` among the measures counts
# how often.
LEAK_DISTANCE = 0.2
TRUE_ARMS = ("truth", "answers")
Videos = dict[str, torch.Tensor]  # (B, N, 3, H, W) by arm
Measures = dict[str, float]
Looks = Sequence[Look | None]


def sample_arms(batch: LongBatch, family: Family) -> Videos:
    """The edited clips of every arm that a family compares, decoded, and the codec's round trips of
    one right answer (truth) and of one for every segment (answers), the least and the most that
    segments of perfect edits differ.

    alone, led (alone, with a keyframe for each segment, as memory has for first ones), memory
    (aware of shots), paper (Alg. 2 as it stands; in one shot the same as memory), fifo, and given
    (the right answer as memory of every earlier segment: what differs then, the editor draws
    otherwise than it is shown).
    """
    truth = batch.encode(torch.stack([clip.truth for clip in batch.clips]))
    arms = {"alone": edit_alone(batch), "memory": edit_with_memory(batch)}
    if family == "one_shot":
        arms["led"] = edit_alone(batch, is_led=True)
        arms["fifo"] = edit_by_fifo(batch)
        arms["given"] = edit_with_memory(batch, given=truth)
    if family in ("two_shot", "return"):
        arms["paper"] = edit_with_memory(batch, AS_IN_THE_PAPER)
    arms["truth"] = truth
    arms["answers"] = batch.encode(torch.stack([clip.answers for clip in batch.clips]))
    return {name: batch.decode(latent) for name, latent in arms.items()}


def measure_batch(batch: LongBatch, family: Family, videos: Videos) -> list[Measures]:
    """The measures of every clip; a name ends in its arm and starts with its family."""
    rows = []
    for i, clip in enumerate(batch.clips):
        measures: Measures = {}
        for arm, video in videos.items():
            looks = clip_looks(batch, clip, video[i])
            found = _BY_FAMILY[family](clip, looks)
            found["background_psnr"] = background_psnr(video[i], clip.scene)
            found["edited_share"] = _edited_share(looks)
            for name, value in found.items():
                # Which clips show too little of the object, or keep its shape, is the same for all
                # arms.
                if math.isfinite(value) and (clip.has_open_shape or name != "shape"):
                    measures[f"{family}_{name}_{arm}"] = value
        rows.append(measures)
    return rows


def clip_looks(batch: LongBatch, clip: LongClip, edited: torch.Tensor) -> Looks:
    """The edit as every segment shows it."""
    return [
        segment_look(
            edited[segment.start : segment.stop], clip.scene.frames(segment.start, segment.stop)
        )
        for segment in batch.plan.segments
    ]


def one_shot_measures(clip: LongClip, looks: Looks) -> Measures:
    """How far all segments differ from each other."""
    colour, shape = difference_among(looks)
    return {"colour": colour, "shape": shape}


def away_measures(clip: LongClip, looks: Looks) -> Measures:
    """How far the segments after the object's return differ from those before it left."""
    gone = [i for i, look in enumerate(looks) if look is None]
    return _across(looks[: gone[0]], looks[gone[-1] + 1 :])


def two_shot_measures(clip: LongClip, looks: Looks) -> Measures:
    """Whether the first shot's colour came into the second, and how far segments of one shot
    differ.
    """
    first, second = _of_world(clip, looks, 0), _of_world(clip, looks, 1)
    (colour_a, shape_a), (colour_b, shape_b) = difference_among(first), difference_among(second)
    return {
        **_leak(first, second),
        "colour": (colour_a + colour_b) / 2,
        "shape": (shape_a + shape_b) / 2,
    }


def return_measures(clip: LongClip, looks: Looks) -> Measures:
    """How far the first shot's return differs from it, and whether its colour came into the shot
    between.
    """
    middle = [i for i, number in enumerate(clip.world_of_segment) if number == 1]
    across = _across(looks[: middle[0]], looks[middle[-1] + 1 :])
    return {**_leak(looks[: middle[0]], _of_world(clip, looks, 1)), **across}


_BY_FAMILY = {
    "one_shot": one_shot_measures,
    "away": away_measures,
    "two_shot": two_shot_measures,
    "return": return_measures,
}


def _of_world(clip: LongClip, looks: Looks, number: int) -> Looks:
    return [
        look for look, world in zip(looks, clip.world_of_segment, strict=True) if world == number
    ]


def _across(before: Looks, after: Looks) -> Measures:
    pairs = [(a, b) for a in before for b in after if a is not None and b is not None]
    colour, shape = difference_between(pairs)
    return {"colour": colour, "shape": shape}


def _leak(first: Looks, second: Looks) -> Measures:
    distance = float((mean_colour(first) - mean_colour(second)).norm())
    return {"leak": float(distance < LEAK_DISTANCE), "leak_distance": distance}


def _edited_share(looks: Looks) -> float:
    seen = [look for look in looks if look is not None]
    return sum(look.is_edited for look in seen) / len(seen)
