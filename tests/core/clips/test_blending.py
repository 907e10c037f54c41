"""Segments back to one video: exact counts, exact frames where nothing differs, and little held at
a time.
"""

import itertools
import weakref
from collections.abc import Iterator

import pytest
import torch

from memv2v_core.clips.blending import SegmentStitcher, StitchConfig, stitch
from memv2v_core.clips.segments import SegmentPlan, plan_segments, segment_frames

SHOTS = [None, [(0, 20), (20, 23), (23, 50)]]


def video(num_frames: int, size: int = 4) -> torch.Tensor:
    return torch.rand(
        num_frames, 3, size, size, generator=torch.Generator().manual_seed(num_frames)
    )


def pieces(plan: SegmentPlan, frames: torch.Tensor) -> Iterator[torch.Tensor]:
    return (segment_frames(frames, segment, plan.temporal_ratio) for segment in plan.segments)


def levels(plan: SegmentPlan) -> list[torch.Tensor]:
    """Segments that are flat, each as bright as its number."""
    return [
        torch.full((segment.num_frames, 3, 2, 2), float(segment.idx)) for segment in plan.segments
    ]


@pytest.mark.parametrize(
    ("length", "overlap"), [(5, 0), (9, 0), (9, 1), (9, 4), (9, 8), (17, 16), (49, 5)]
)
@pytest.mark.parametrize(("mode", "shots"), list(itertools.product(["cut", "cross_fade"], SHOTS)))
def test_segments_of_the_video_itself_give_the_very_video(length, overlap, mode, shots):
    frames = video(50)
    plan = plan_segments(50, length, overlap, 4, shots)
    assert torch.equal(
        torch.cat(list(stitch(plan, pieces(plan, frames), StitchConfig(mode)))), frames
    )


def test_cut_changes_in_the_middle_of_the_overlap():
    plan = plan_segments(14, 9, 4, 4)
    result = torch.cat(list(stitch(plan, levels(plan), StitchConfig("cut"))))
    assert result[:, 0, 0, 0].tolist() == [0.0] * 7 + [1.0] * 7


def test_cross_fade_rises_evenly_over_the_overlap_alone():
    plan = plan_segments(14, 9, 4, 4)
    result = torch.cat(list(stitch(plan, levels(plan), StitchConfig("cross_fade"))))[:, 0, 0, 0]
    wanted = torch.tensor([0.0] * 5 + [0.2, 0.4, 0.6, 0.8] + [1.0] * 5)
    torch.testing.assert_close(result, wanted)


def test_nothing_is_mixed_across_a_cut():
    plan = plan_segments(30, 9, 4, 4, [(0, 9), (9, 30)])
    result = torch.cat(list(stitch(plan, levels(plan))))[:, 0, 0, 0]
    assert result[:14].tolist() == [0.0] * 9 + [1.0] * 5
    assert 1.0 < float(result[14]) < 2.0


def test_frames_leave_as_soon_as_no_later_segment_changes_them():
    plan = plan_segments(30, 9, 2, 4)
    stitcher = SegmentStitcher(plan)
    counts = []
    for piece in pieces(plan, video(30)):
        counts.append(len(stitcher.add(piece)))
    assert counts == [7, 7, 7, 9]
    assert stitcher.is_complete


@pytest.mark.parametrize("mode", ["cut", "cross_fade"])
def test_a_segment_is_let_go_once_the_next_is_stitched(mode):
    plan = plan_segments(400, 9, 2, 4)
    alive: list[weakref.ref] = []

    def edited() -> Iterator[torch.Tensor]:
        for segment in plan.segments:
            frames = torch.rand(segment.num_frames, 3, 8, 8)
            alive.append(weakref.ref(frames))
            yield frames

    most = total = 0
    for finished in stitch(plan, edited(), StitchConfig(mode)):
        total += len(finished)
        most = max(most, sum(reference() is not None for reference in alive))
    assert total == 400
    assert most <= 2


def test_padded_frames_are_left_out():
    plan = plan_segments(6, 9, 0, 4)
    frames = video(6)
    (padded,) = pieces(plan, frames)
    assert len(padded) == 9
    assert torch.equal(torch.cat(list(stitch(plan, [padded]))), frames)


def test_colours_follow_the_segment_before():
    frames = 0.3 + 0.4 * video(30, 16)
    plan = plan_segments(30, 9, 4, 4)
    edited = [piece * 0.7 + 0.08 * idx for idx, piece in enumerate(pieces(plan, frames))]
    matched = torch.cat(list(stitch(plan, edited, StitchConfig("cut", match_colours=True))))
    plain = torch.cat(list(stitch(plan, edited, StitchConfig("cut"))))
    assert float((plain - frames * 0.7).abs().mean()) > 0.1
    assert float((matched - frames * 0.7).abs().mean()) < 0.01


def test_matching_equal_colours_changes_less_than_a_step_of_eight_bits():
    frames = video(30, 16)
    plan = plan_segments(30, 9, 4, 4)
    matched = torch.cat(
        list(stitch(plan, pieces(plan, frames), StitchConfig("cross_fade", match_colours=True)))
    )
    assert matched.shape == frames.shape
    assert float((matched - frames).abs().max()) < 1 / 512


def test_colours_start_anew_at_a_cut_and_flat_segments_are_only_shifted():
    plan = plan_segments(23, 9, 4, 4, [(0, 9), (9, 23)])
    edited = [torch.full((9, 3, 4, 4), level) for level in (0.2, 0.5, 0.8)]
    result = torch.cat(list(stitch(plan, edited, StitchConfig("cut", match_colours=True))))
    torch.testing.assert_close(result[:9], edited[0])
    torch.testing.assert_close(result[9:], torch.full((14, 3, 4, 4), 0.5), atol=2e-3, rtol=0)


def test_wrong_segments_are_refused():
    plan = plan_segments(30, 9, 2, 4)
    with pytest.raises(ValueError, match="segment 1 got 8 frames, wanted 9; connect"):
        SegmentStitcher(plan).add(video(8))
    with pytest.raises(ValueError, match=r"wanted 6 \(or 9 with its padding\)"):
        SegmentStitcher(plan_segments(6, 9, 0, 4)).add(video(7))
    some = [video(9)] * 2
    with pytest.raises(ValueError, match="got 2 segments, wanted 4"):
        list(stitch(plan, some))
    with pytest.raises(ValueError, match="got a segment more than the 4"):
        list(stitch(plan, [video(9)] * 5))
    with pytest.raises(ValueError, match="mode got 'wipe', wanted one of cut, cross_fade"):
        StitchConfig("wipe")


def test_colours_need_an_overlap_where_segments_meet():
    with pytest.raises(
        ValueError, match="overlap got 0, wanted 1 or more frames to match colours on"
    ):
        SegmentStitcher(plan_segments(30, 9, 0, 4), StitchConfig(match_colours=True))
    SegmentStitcher(plan_segments(18, 9, 0, 4, [(0, 9), (9, 18)]), StitchConfig(match_colours=True))
