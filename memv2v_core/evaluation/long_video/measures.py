"""Numbers from the arms of one long clip."""

import math
from collections.abc import Sequence

import torch

from ...clips.segments import SegmentPlan
from ..metrics.segment_agreement import LEAK_DISTANCE
from ..metrics.segment_looks import (
    Look,
    background_psnr,
    difference_among,
    difference_between,
    mean_colour,
    segment_look,
)
from ..result import Measures
from .arms import (
    AS_IN_THE_PAPER,
    ClipHost,
    edit_alone,
    edit_by_fifo,
    edit_with_given,
    edit_with_memory,
)
from .clips import LongClip

TRUE_ARMS = ("truth", "answers")
Videos = dict[str, torch.Tensor]  # (N, 3, H, W) by arm
Looks = Sequence[Look | None]


def edited_videos(host: ClipHost) -> Videos:
    """The clip as every arm edits it, and two round trips through the codec.

    - alone: segments without memory.
    - led: alone, with a keyframe for each segment, as first segments have with memory.
    - memory: aware of shots.
    - paper: Alg. 2 unchanged; in one shot it equals memory.
    - fifo: FIFO-Diffusion, for a base that takes its source on the channel axis.
    - given: the right answer as memory of every earlier segment. Differences that remain come from
    the editor, not from its memories.
    - truth: one right answer through the codec, the least that segments of perfect edits differ.
    - answers: another answer in every segment through the codec, the most that they differ.
    """
    codec, clip = host.bundle.codec, host.clip
    truth = codec.encode_frames(clip.truth)
    arms = {"alone": edit_alone(host), "memory": edit_with_memory(host)}
    if clip.family == "one_shot":
        base = host.base
        if base.has_keyframe:
            arms["led"] = edit_alone(host, is_led=True)
        if not base.has_source_tokens:
            arms["fifo"] = edit_by_fifo(host)
        arms["given"] = edit_with_given(host, truth)
    if clip.family in ("two_shot", "return"):
        arms["paper"] = edit_with_memory(host, AS_IN_THE_PAPER)
    arms["truth"] = truth
    arms["answers"] = codec.encode_frames(clip.answers)
    return {name: codec.decode_frames(latent) for name, latent in arms.items()}


def measure_clip(clip: LongClip, plan: SegmentPlan, videos: Videos) -> Measures:
    """The measures of one clip. A name starts with the family and ends with the arm."""
    measures: Measures = {}
    for arm, video in videos.items():
        looks = clip_looks(clip, plan, video)
        found = _BY_FAMILY[clip.family](clip, looks)
        found["background_psnr"] = background_psnr(video, clip.scene)
        found["edited_share"] = _edited_share(looks)
        for name, value in found.items():
            # A clip may show too little of the object, or keep its shape. This is the same for
            # all arms, so they lose the same clips.
            if math.isfinite(value) and (clip.has_open_shape or name != "shape"):
                measures[f"{clip.family}_{name}_{arm}"] = value
    return measures


def clip_looks(clip: LongClip, plan: SegmentPlan, edited: torch.Tensor) -> Looks:
    """The look of the edit in every segment."""
    return [
        segment_look(
            edited[segment.start : segment.stop],
            clip.scene.frames(segment.start, segment.stop),
        )
        for segment in plan.segments
    ]


def one_shot_measures(_clip: LongClip, looks: Looks) -> Measures:
    """How much all segments differ from each other."""
    colour, shape = difference_among(looks)
    return {"colour": colour, "shape": shape}


def away_measures(_clip: LongClip, looks: Looks) -> Measures:
    """How much the segments after the object's return differ from the segments before it left."""
    # Segments without a look are the ones without the object.
    gone = [i for i, look in enumerate(looks) if look is None]
    return _across(looks[: gone[0]], looks[gone[-1] + 1 :])


def two_shot_measures(clip: LongClip, looks: Looks) -> Measures:
    """How much segments of one shot differ, and whether the first shot's colour leaks.

    A leak brings the colour into the second shot.
    """
    first, second = _of_world(clip, looks, 0), _of_world(clip, looks, 1)
    (colour_a, shape_a), (colour_b, shape_b) = difference_among(first), difference_among(second)
    return {
        **_leak(first, second),
        "colour": (colour_a + colour_b) / 2,
        "shape": (shape_a + shape_b) / 2,
    }


def return_measures(clip: LongClip, looks: Looks) -> Measures:
    """How much the first shot's return differs from its start, and whether its colour leaks.

    A leak brings the colour into the shot between.
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
    # Mean colours of all segments: one odd frame makes no leak.
    distance = float((mean_colour(first) - mean_colour(second)).norm())
    return {"leak": float(distance < LEAK_DISTANCE), "leak_distance": distance}


def _edited_share(looks: Looks) -> float:
    seen = [look for look in looks if look is not None]
    return sum(look.is_edited for look in seen) / len(seen)
