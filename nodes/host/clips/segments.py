"""A clip of any length in segments, as a model sees them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from comfy_api.latest import Input

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.cache.entry import Segment
from ....memv2v_core.clips.fitting import (
    Aspect,
    FittingPlan,
    Size,
    describe_fitting,
    fit_frames,
    plan_fitting,
)
from ....memv2v_core.clips.segments import (
    SegmentPlan,
    plan_segments,
    segment_frames,
)
from ....memv2v_core.clips.shots import ShotConfig, detect_shots
from ....memv2v_core.long_edit.host import SegmentSource
from ....memv2v_core.shapes import padded_num_frames
from ..footage.reading import Clip, Reader, Tell, exact_rate, open_clip


@dataclass(frozen=True)
class SplitSettings:
    """How a clip is split and fitted. The fields have the names of the widgets.

    length, width, height: 0 takes the number of the model.
    shots: whether to look for cuts, with this sensitivity.
    """

    length: int
    overlap: int
    shots: bool
    sensitivity: float
    width: int
    height: int
    aspect: Aspect


@dataclass(frozen=True, eq=False)
class SplitVideo:
    """A clip with the plan of its segments, and how a model sees it.

    The socket MEMV2V_SEGMENTS carries it.

    info: the model that it was split for.
    budget: wanted rows and columns. With the aspect "keep" it is a number of pixels, in the aspect
    of the clip.
    """

    clip: Clip
    plan: SegmentPlan
    info: BaseInfo
    budget: Size
    aspect: Aspect

    def fitting(self, num_frames: int) -> FittingPlan:
        """How this many frames are fitted to the model and restored.

        It adds no padding in time.
        """
        # A ratio of 1 adds no padding in time.
        return plan_fitting(num_frames, self.clip.size, self.budget, None, 1, self.aspect)

    def segment(self, index: int) -> Segment:
        """The segment with this number, from 1.

        Raises: ValueError when there are fewer segments.
        """
        segments = self.plan.segments
        if index > len(segments):
            raise ValueError(
                f"index got {index}, wanted 1 to {len(segments)}, the segments of this video; "
                "lower it"
            )
        return segments[index - 1]

    @property
    def summary(self) -> str:
        """How the clip is fitted, and how many segments it has, in words."""
        plan = self.plan
        num_shots = len({segment.shot for segment in plan.segments})
        fitted = describe_fitting(self.fitting(self.clip.num_frames), self.aspect, 1)
        return (
            f"{fitted}; {len(plan.segments)} segments of {plan.length}, overlap {plan.overlap}, in "
            f"{num_shots} shots"
        )

    def describe(self) -> str:
        """The plan in words: the summary, what the clip loses, then one line per segment."""
        segments = (segment.describe() for segment in self.plan.segments)
        return "\n".join((self.summary, *self.clip.notes, *segments))


def split_video(
    info: BaseInfo,
    settings: SplitSettings,
    video: Input.Video | None,
    images: torch.Tensor | None,
    frame_rate: float,
    audio: dict | None,
    is_whole: bool = False,
    tell: Tell | None = None,
) -> SplitVideo:
    """The connected clip, split for a model.

    is_whole: makes one segment of the whole clip. tell: see `open_clip`.

    Raises: ValueError for a clip, sound, size, length or overlap that is not possible; see
    `open_clip` and `plan_segments`.
    """
    # Step 1: the size that the model sees.
    budget = model_budget(info, settings.width, settings.height, settings.aspect)

    # Step 2: the clip, decoded once to count its frames and to find its cuts.
    shots: list[tuple[int, int]] = []

    def find_shots(chunks: Iterator[torch.Tensor]) -> None:
        shots.extend(detect_shots(chunks, ShotConfig(sensitivity=settings.sensitivity)))

    watch = find_shots if settings.shots and not is_whole else None
    clip = open_clip(images, video, exact_rate(frame_rate), audio, watch, tell)

    # Step 3: the segments.
    ratio = info.ratios.temporal
    if is_whole:
        plan = plan_segments(clip.num_frames, padded_num_frames(clip.num_frames, ratio), 0, ratio)
    else:
        length = settings.length or padded_num_frames(info.num_frames, ratio)
        plan = plan_segments(clip.num_frames, length, settings.overlap, ratio, tuple(shots) or None)
    return SplitVideo(clip, plan, info, budget, settings.aspect)


def read_segment(split: SplitVideo, read: Reader, segment: Segment) -> SegmentSource:
    """The segment's frames, fitted a few at a time."""
    fitting = split.fitting(1)
    digest = hashlib.blake2b(f"{fitting.scaled} {fitting.size}".encode(), digest_size=16)
    pieces = []
    for chunk in read(segment.start, segment.stop):
        digest.update(eight_bits(chunk))
        pieces.append(fit_frames(chunk, split.fitting(len(chunk))))
    # The pieces hold only this segment, so it starts at 0 among them.
    frames = segment_frames(torch.cat(pieces), replace(segment, start=0), split.plan.temporal_ratio)
    return SegmentSource(segment, frames, digest.hexdigest())


def model_budget(info: BaseInfo, width: int, height: int, aspect: Aspect) -> Size:
    """Rows and columns that a model is asked to see; 0 takes the number of the model.

    Raises: ValueError for sides that its VAE does not take. The aspect "keep" chooses its own.
    """
    ratio, (rows, columns) = info.ratios.spatial, info.latent_size
    budget = (height or rows * ratio, width or columns * ratio)
    if aspect != "keep":
        _require_side("height", budget[0], ratio)
        _require_side("width", budget[1], ratio)
    return budget


def eight_bits(frames: torch.Tensor) -> memoryview:
    """The bytes of frames in 0..1, for a hash: a float may differ in its last bit elsewhere."""
    return (frames * 255).round().to(torch.uint8).contiguous().numpy().data


def _require_side(name: str, side: int, multiple: int) -> None:
    if side % multiple:
        below = max(side // multiple, 1) * multiple
        raise ValueError(
            f"{name} got {side}, wanted a multiple of {multiple} for this model's VAE; use "
            f"{below} or {below + multiple}, or the aspect 'keep'"
        )
