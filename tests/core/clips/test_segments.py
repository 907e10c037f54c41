"""Plans of segments: every frame is held, nothing crosses a shot, lengths fit the VAE."""

import itertools

import pytest
import torch

from memv2v_core.cache.entry import Segment
from memv2v_core.clips.segments import owned_frames, plan_segments, segment_frames
from memv2v_core.shapes import padded_num_frames


def places(plan) -> list[tuple[int, int, int]]:
    return [(segment.start, segment.num_frames, segment.shot) for segment in plan.segments]


def test_last_segment_is_moved_back_to_its_whole_length():
    plan = plan_segments(30, 9, 2, 4)
    assert places(plan) == [(0, 9, 0), (7, 9, 0), (14, 9, 0), (21, 9, 0)]
    assert places(plan_segments(28, 9, 2, 4)) == [(0, 9, 0), (7, 9, 0), (14, 9, 0), (19, 9, 0)]
    assert [segment.idx for segment in plan.segments] == [0, 1, 2, 3]


def test_segments_stay_within_their_shots():
    plan = plan_segments(30, 9, 0, 4, [(0, 9), (9, 13), (13, 30)])
    assert places(plan) == [(0, 9, 0), (9, 4, 1), (13, 9, 2), (21, 9, 2)]


def test_short_video_is_one_short_segment():
    assert places(plan_segments(6, 81, 8, 4)) == [(0, 6, 0)]


SHOTS = [None, [(0, 3), (3, 50)], [(0, 40), (40, 41), (41, 50)]]


LENGTHS = [
    pair for pair in itertools.product([1, 5, 9, 17, 49], [0, 1, 4, 8, 16]) if pair[1] < pair[0]
]


@pytest.mark.parametrize(("length", "overlap"), LENGTHS)
@pytest.mark.parametrize("shots", SHOTS)
def test_every_frame_is_held_and_owned_once(length, overlap, shots):
    num_frames = 50
    plan = plan_segments(num_frames, length, overlap, 4, shots)
    held = {frame for segment in plan.segments for frame in range(segment.start, segment.stop)}
    assert held == set(range(num_frames))
    owned = owned_frames(plan)
    assert [frame for start, stop in owned for frame in range(start, stop)] == list(
        range(num_frames)
    )
    for segment, (start, stop) in zip(plan.segments, owned, strict=True):
        assert segment.start <= start < stop <= segment.stop
        shot = (shots or [(0, num_frames)])[segment.shot]
        assert shot[0] <= segment.start
        assert segment.stop <= shot[1]
        assert segment.num_frames == min(length, shot[1] - shot[0])


@pytest.mark.parametrize(
    ("num_frames", "length", "overlap"), [(50, 9, 4), (50, 17, 16), (41, 9, 1), (10, 9, 0)]
)
def test_neighbours_hand_over_in_the_middle_of_what_they_share(num_frames, length, overlap):
    plan = plan_segments(num_frames, length, overlap, 4)
    for segment, following in itertools.pairwise(plan.segments):
        assert segment.stop - following.start >= overlap
        start, stop = plan.handover(segment.idx)
        assert stop - start == overlap
        assert following.start <= start
        assert stop <= segment.stop
        assert abs((start - following.start) - (segment.stop - stop)) <= 1
    assert plan.handover(len(plan.segments) - 1) is None
    assert plan.handover(-1) is None


def test_nothing_hands_over_across_a_cut():
    plan = plan_segments(30, 9, 2, 4, [(0, 16), (16, 30)])
    assert [plan.handover(segment.idx) for segment in plan.segments] == [
        (7, 9),
        None,
        (22, 24),
        None,
    ]


def test_segment_frames_hold_the_last_frame_until_the_vae_takes_them():
    video = torch.arange(20.0).view(20, 1, 1, 1).expand(-1, 3, 2, 2)
    frames = segment_frames(video, Segment(0, 4, 6), 4)
    assert frames[:, 0, 0, 0].tolist() == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0, 9.0]
    assert len(frames) == padded_num_frames(6, 4)
    assert segment_frames(video, Segment(0, 4, 5), 4)[:, 0, 0, 0].tolist() == [
        4.0,
        5.0,
        6.0,
        7.0,
        8.0,
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30, 10, 0, 4), r"length got 10, wanted 4 \* n \+ 1 frames for this VAE; use 9 or 13"),
        ((30, 2, 0, 4), "use 1 or 5"),
        ((30, 0, 0, 4), "use 1 or 5"),
        ((30, 9, 9, 4), "overlap got 9, wanted 0 to 8"),
        ((30, 9, -1, 4), "overlap got -1"),
        ((0, 9, 0, 4), "num_frames got 0, wanted 1 or more"),
        (
            (30, 9, 0, 4, [(0, 10), (11, 30)]),
            "shots got .* wanted .* that follow each other from 0 to 30",
        ),
        ((30, 9, 0, 4, [(0, 10), (10, 29)]), "shots got"),
        ((30, 9, 0, 4, [(0, 10), (10, 10), (10, 30)]), "shots got"),
        ((30, 9, 0, 4, []), "shots got"),
    ],
)
def test_wrong_plans_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan_segments(*arguments)
