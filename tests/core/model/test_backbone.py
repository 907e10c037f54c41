import pytest
import torch

from memv2v_core.model.backbone import expand_time


def test_one_timestep_serves_all_tokens_as_it_is():
    values = torch.randn(2, 1, 4)
    assert expand_time(values, 12) is values


def test_a_timestep_a_frame_is_repeated_for_the_frames_tokens():
    values = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert expand_time(values, 6).flatten().tolist() == [1, 1, 2, 2, 3, 3]


def test_tokens_must_divide_among_the_frames():
    with pytest.raises(AssertionError):
        expand_time(torch.zeros(1, 3, 4), 7)
