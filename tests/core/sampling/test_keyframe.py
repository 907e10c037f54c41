"""The keyframe of a segment that sees no memory."""

import pytest
import torch

from memv2v_core.bases.base_info import BaseInfo
from memv2v_core.sampling.keyframe import keyframe_of, keyframe_plan
from memv2v_core.sampling.turn import Turn
from memv2v_core.shapes import VaeRatios
from memv2v_core.tokens.positions import temporal_indices


@pytest.mark.parametrize(("num_latent", "keyframe"), [(1, 0), (2, 1), (5, 2), (9, 4)])
def test_the_keyframe_is_one_frame_in_the_middle(num_latent: int, keyframe: int) -> None:
    assert torch.arange(num_latent)[keyframe_of(num_latent)].tolist() == [keyframe]


def test_it_is_seen_whole_in_the_place_of_the_segment_before() -> None:
    base = BaseInfo("m", "trained", VaeRatios(1, 8, 4), None, "zero", has_cameras=False)
    edited, source = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2)
    plan = keyframe_plan(Turn(base, source), edited)
    (entry,) = plan.retrieval.entries
    assert torch.equal(entry.latent, edited)
    assert torch.equal(entry.source_latent, source)
    assert (entry.model_name, entry.num_frames) == ("m", 1)
    assert plan.retrieval.ranked[0].is_previous
    assert plan.kernels == (2,)
    assert plan.merging is None
    assert temporal_indices("previous", 9, 1) == (9,)
