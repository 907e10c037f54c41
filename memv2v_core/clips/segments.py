"""A long video cut into pieces that a model can edit, and which frames of each piece are shown.

F frames, C channels, H rows, W columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..cache.entry import Segment
from ..shapes import padded_num_frames

# The first frame, and the first frame after the last.
Span = tuple[int, int]


@dataclass(frozen=True)
class SegmentPlan:
    """The segments of a video, in order.

    Together they hold every frame; no segment crosses a shot.

    length: frames of a whole segment, temporal_ratio * n + 1.
    overlap: frames that two neighbours of one shot share. The last segment of a shot is moved back
    to its whole length, so it may share more.
    """

    num_frames: int
    length: int
    overlap: int
    segments: tuple[Segment, ...]
    temporal_ratio: int

    def handover(self, idx: int) -> Span | None:
        """The `overlap` frames in which segment `idx` gives way to the next one.

        None where a shot or the video ends. The frames lie in the middle of the shared frames,
        which are more than `overlap` where the last segment was moved back.
        """
        if not 0 <= idx < len(self.segments) - 1:
            return None
        segment, following = self.segments[idx], self.segments[idx + 1]
        if segment.shot != following.shot:
            return None
        # Both segments show the frames from following.start to segment.stop.
        start = following.start + (segment.stop - following.start - self.overlap) // 2
        return start, start + self.overlap


def plan_segments(
    num_frames: int,
    length: int,
    overlap: int,
    temporal_ratio: int,
    shots: Sequence[Span] | None = None,
) -> SegmentPlan:
    """The fewest segments of `length` frames that hold the video.

    Every two neighbours of a shot share `overlap` frames. A shot that is shorter than `length`
    becomes one shorter segment.

    shots: (start, stop) of each shot, in order and without gaps; None takes the video as one shot,
    as the paper does.

    Raises: ValueError for a length that the VAE cannot take, an overlap that leaves no progress,
    and shots with gaps.
    """
    if num_frames < 1:
        raise ValueError(
            f"num_frames got {num_frames}, wanted 1 or more; check the loader before this node"
        )
    _require_length(length, temporal_ratio)
    if not 0 <= overlap < length:
        raise ValueError(
            f"overlap got {overlap}, wanted 0 to {length - 1}, less than the segment length "
            f"{length}; lower the overlap or lengthen the segments"
        )
    shots = ((0, num_frames),) if shots is None else tuple(shots)
    _require_shots(shots, num_frames)
    segments: list[Segment] = []
    for shot, (start, stop) in enumerate(shots):
        # Each shot is divided by itself, so no segment crosses a cut.
        for offset in _offsets(stop - start, length, overlap):
            count = min(length, stop - start)
            segments.append(Segment(len(segments), start + offset, count, shot))
    return SegmentPlan(num_frames, length, overlap, tuple(segments), temporal_ratio)


def owned_frames(plan: SegmentPlan) -> tuple[Span, ...]:
    """The frames (start, stop) that each segment shows where nothing is blended.

    Every frame of the video is shown once. Neighbours meet in the middle of their shared frames:
    there both segments have the most context.
    """
    # Each edge is the middle of a handover, or the end of a shot.
    edges = [0]
    for segment in plan.segments:
        handover = plan.handover(segment.idx)
        edges.append(segment.stop if handover is None else (handover[0] + handover[1] + 1) // 2)
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def segment_frames(frames: torch.Tensor, segment: Segment, temporal_ratio: int) -> torch.Tensor:
    """The segment's part of a video (F, C, H, W).

    Its last frame is held until the VAE takes the count.
    """
    part = frames[segment.start : segment.stop]
    num_held = padded_num_frames(len(part), temporal_ratio) - len(part)
    return torch.cat((part, part[-1:].expand(num_held, *part.shape[1:]))) if num_held else part


def _offsets(num_frames: int, length: int, overlap: int) -> list[int]:
    # The last segment ends with the shot, even if it then shares more than `overlap` frames.
    last = max(num_frames - length, 0)
    return [*range(0, last, length - overlap), last]


def _require_length(length: int, temporal_ratio: int) -> None:
    if length >= 1 and (length - 1) % temporal_ratio == 0:
        return
    below = max(padded_num_frames(max(length, 1), temporal_ratio) - temporal_ratio, 1)
    raise ValueError(
        f"length got {length}, wanted {temporal_ratio} * n + 1 frames for this VAE; "
        f"use {below} or {below + temporal_ratio}"
    )


def _require_shots(shots: tuple[Span, ...], num_frames: int) -> None:
    starts, stops = [start for start, _ in shots], [stop for _, stop in shots]
    # Each shot starts where the one before stops.
    is_gapless = [0, *stops] == [*starts, num_frames]
    if not is_gapless or any(start >= stop for start, stop in shots):
        raise ValueError(
            f"shots got {list(shots)}, wanted (start, stop) pairs that follow each other from 0 to "
            f"{num_frames}; detect them on the very frames that are split"
        )
