"""Edited segments put back into one video, piece by piece, so that memory stays flat.

F frames, C channels, H rows, W columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from ..cache.entry import Segment
from ..shapes import padded_num_frames
from .segments import SegmentPlan, owned_frames

StitchMode = Literal["cut", "cross_fade"]
STITCH_MODES: tuple[StitchMode, ...] = ("cut", "cross_fade")
_FRAMES_AT_ONCE = 8
# A Lab channel spans about 100 to 250. Below this deviation it has no contrast to scale.
_FLAT_DEVIATION = 0.5


@dataclass(frozen=True)
class StitchConfig:
    """How edited segments become one video.

    mode: "cut" takes each frame from one segment; "cross_fade" mixes neighbours over their overlap,
    never over a cut of the video.
    match_colours: give each segment the mean and deviation of each Lab channel that the segment
    before has in the frames that both share.

    Raises: ValueError for an unknown mode.
    """

    mode: StitchMode = "cross_fade"
    match_colours: bool = False

    def __post_init__(self) -> None:
        if self.mode not in STITCH_MODES:
            raise ValueError(f"mode got {self.mode!r}, wanted one of {', '.join(STITCH_MODES)}")


@dataclass(frozen=True, eq=False)
class _Colours:
    """Mean and deviation (C, 1, 1) of each Lab channel."""

    mean: torch.Tensor
    deviation: torch.Tensor


class SegmentStitcher:
    """Joins the edited segments of a plan in order.

    After each segment it gives back the frames that no later segment changes. Between two calls it
    holds the `overlap` frames of one handover at most.

    Raises: ValueError when colours are to be matched and the plan has neighbours that share no
    frame.
    """

    def __init__(self, plan: SegmentPlan, config: StitchConfig | None = None) -> None:
        self.plan = plan
        self.config = config or StitchConfig()
        self.num_added = 0
        self._owned = owned_frames(plan)
        self._held: torch.Tensor | None = None
        self._reference: _Colours | None = None
        # Colours are measured on shared frames, so an overlap of 0 leaves nothing to measure.
        has_handover = any(plan.handover(segment.idx) is not None for segment in plan.segments)
        if self.config.match_colours and has_handover and plan.overlap == 0:
            raise ValueError(
                "overlap got 0, wanted 1 or more frames to match colours on; plan the segments "
                "with an overlap, or switch colour matching off"
            )

    @property
    def is_complete(self) -> bool:
        """Whether every segment was added, and so every frame was given back."""
        return self.num_added == len(self.plan.segments)

    def add(self, frames: torch.Tensor) -> torch.Tensor:
        """The frames (n, C, H, W) that are finished once this segment is known.

        frames: (F, C, H, W) in 0..1 of the next segment. It may include the frames that padded the
        segment; they are left out.

        Raises: ValueError for another number of frames than the segment has, and after the last
        segment.
        """
        if self.is_complete:
            raise ValueError(
                f"got a segment more than the {len(self.plan.segments)} of the plan; start a new "
                "stitcher"
            )
        segment = self.plan.segments[self.num_added]
        frames = _require_frames(frames, segment, self.plan.temporal_ratio)
        if self.config.match_colours:
            frames = self._matched(frames, segment)
        # Frames before `start` were given back with the segment before; frames from `stop` on wait
        # for the next segment.
        start, stop = self._final_span(segment.idx)
        following = self._held_span(segment.idx)
        body = frames[start - segment.start :]
        # `body` starts where the frames held from the segment before start.
        if self._held is not None:
            num_mixed = len(self._held)
            mixed = torch.lerp(self._held, body[:num_mixed], _ramp(num_mixed, body))
            body = torch.cat((mixed, body[num_mixed:]))
        # Cloned, since a slice would keep the whole segment in memory.
        self._held = (
            None if following is None else body[following[0] - start : following[1] - start].clone()
        )
        self.num_added += 1
        return body[: stop - start]

    def _held_span(self, idx: int) -> tuple[int, int] | None:
        """The frames of this segment that are mixed with the next one; None without a mix."""
        handover = self.plan.handover(idx)
        return handover if self.config.mode == "cross_fade" and self.plan.overlap else None

    def _final_span(self, idx: int) -> tuple[int, int]:
        """The frames that are finished once this segment is known."""
        start, stop = self._owned[idx]
        before, after = self._held_span(idx - 1), self._held_span(idx)
        return start if before is None else before[0], stop if after is None else after[0]

    def _matched(self, frames: torch.Tensor, segment: Segment) -> torch.Tensor:
        """The frames in the colours of the segment before."""
        # Both segments show these frames, so a difference in their statistics is an error of
        # colour.
        if self._reference is not None:
            before = self.plan.segments[segment.idx - 1]
            frames = _recoloured(
                frames, _colours(frames[: before.stop - segment.start]), self._reference
            )
        # Measured after the match: colours carry over from the first segment to the last.
        self._reference = None
        if self.plan.handover(segment.idx) is not None:
            following = self.plan.segments[segment.idx + 1]
            self._reference = _colours(frames[following.start - segment.start :])
        return frames


def stitch(
    plan: SegmentPlan, edited: Iterable[torch.Tensor], config: StitchConfig | None = None
) -> Iterator[torch.Tensor]:
    """The whole video in pieces (n, C, H, W), n > 0, `plan.num_frames` frames in all.

    edited: the segments in order; each one is read when it is needed.

    Raises: ValueError for segments that are missing, too many, or of a wrong length.
    """
    stitcher = SegmentStitcher(plan, config)
    for frames in edited:
        finished = stitcher.add(frames)
        if len(finished):
            yield finished
    if not stitcher.is_complete:
        raise ValueError(
            f"got {stitcher.num_added} segments, wanted {len(plan.segments)}; edit the missing "
            "ones first"
        )


def _ramp(num_frames: int, like: torch.Tensor) -> torch.Tensor:
    """Weights (num_frames, 1, 1, 1) of the later segment.

    No weight is 0 or 1: such a frame would not be mixed.
    """
    steps = torch.arange(1, num_frames + 1, dtype=like.dtype, device=like.device)
    return (steps / (num_frames + 1))[:, None, None, None]


def _require_frames(frames: torch.Tensor, segment: Segment, temporal_ratio: int) -> torch.Tensor:
    padded = padded_num_frames(segment.num_frames, temporal_ratio)
    if frames.shape[0] not in (segment.num_frames, padded):
        raise ValueError(
            f"segment {segment.idx + 1} got {frames.shape[0]} frames, wanted {segment.num_frames}"
            f"{f' (or {padded} with its padding)' if padded != segment.num_frames else ''}; "
            "connect the result that was made from this very segment"
        )
    return frames[: segment.num_frames]


def _colours(frames: torch.Tensor) -> _Colours:
    """Mean and deviation over frames (F, C, H, W), computed a few frames at a time."""
    from kornia.color import rgb_to_lab

    # Sums and sums of squares, in float64: their difference loses digits.
    totals = torch.zeros(2, frames.shape[1], dtype=torch.float64, device=frames.device)  # (2, C)
    for piece in frames.split(_FRAMES_AT_ONCE):
        lab = rgb_to_lab(piece.float()).double()
        totals += torch.stack((lab.sum(dim=(0, 2, 3)), lab.square().sum(dim=(0, 2, 3))))
    # Sums over (F, H, W) become means.
    mean, square = totals / (frames.shape[0] * frames.shape[2] * frames.shape[3])
    deviation = (square - mean.square()).clamp(min=0).sqrt()
    return _Colours(mean.float()[:, None, None], deviation.float()[:, None, None])


def _recoloured(frames: torch.Tensor, measured: _Colours, wanted: _Colours) -> torch.Tensor:
    """The frames shifted and scaled in Lab.

    A channel without contrast is only shifted.
    """
    from kornia.color import lab_to_rgb, rgb_to_lab

    has_contrast = torch.minimum(measured.deviation, wanted.deviation) > _FLAT_DEVIATION
    # A small deviation would blow noise up.
    gain = torch.where(
        has_contrast, wanted.deviation / measured.deviation.clamp(min=_FLAT_DEVIATION), 1.0
    )
    pieces = []
    for piece in frames.split(_FRAMES_AT_ONCE):
        lab = (rgb_to_lab(piece.float()) - measured.mean) * gain + wanted.mean
        pieces.append(lab_to_rgb(lab).clamp(0, 1).to(frames))
    return torch.cat(pieces)
