"""The keyframe of a segment that sees no memory."""

import pytest
import torch

from memv2v_core.cameras.trajectory import static_trajectory
from memv2v_core.sampling.keyframe import keyframe_of, keyframe_plan
from memv2v_core.sampling.turn import finished_entry
from memv2v_core.tokens.positions import temporal_indices


@pytest.mark.parametrize(("num_latent", "keyframe"), [(1, 0), (2, 1), (5, 2), (9, 4)])
def test_the_keyframe_is_one_frame_in_the_middle(num_latent: int, keyframe: int) -> None:
    assert torch.arange(num_latent)[keyframe_of(num_latent)].tolist() == [keyframe]


def test_it_is_seen_whole_in_the_place_of_the_segment_before() -> None:
    path = static_trajectory(1, is_assumed=True)
    entry = finished_entry(torch.zeros(4, 1, 2, 2), path, model_name="m", mode="trained", num_frames=1, turn=1, seed=0)
    plan = keyframe_plan(entry)
    assert plan.retrieval.entries == (entry,) and plan.retrieval.ranked[0].is_previous
    assert plan.kernels == (2,) and plan.merging is None
    assert temporal_indices("previous", 9, 1) == (9,)
