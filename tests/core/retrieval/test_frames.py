"""The best frames of a memory: by what cameras see, by how sources look, or evenly spread."""

import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.retrieval.frames import evenly_spread, frames_by_source, frames_by_view
from memv2v_core.retrieval.video_fov import VideoFovConfig, video_fov_mask


def features(*values: float) -> torch.Tensor:
    """A latent (4, T, 8, 8) whose frames differ as far as these angles do."""
    generator = torch.Generator().manual_seed(1)
    one, other = torch.randn(2, 4, 8, 8, generator=generator)
    frames = [torch.cos(torch.tensor(v)) * one + torch.sin(torch.tensor(v)) * other for v in values]
    return torch.stack(frames, dim=1)


def test_frames_with_sources_like_the_targets_are_chosen() -> None:
    target, memory = features(0.0, 0.1, 0.2), features(3.0, 2.0, 0.1, 1.0, 2.5)
    assert frames_by_source(target, memory, 1) == (2,)


def test_a_second_frame_adds_what_the_first_one_lacks() -> None:
    """Two frames alike would show the same thing twice."""
    target, memory = features(0.0, 0.1, 2.0), features(0.05, 0.06, 0.07, 1.9)
    assert 3 in frames_by_source(target, memory, 2)
    assert len(frames_by_source(target, memory, 2)) == 2


def test_frames_come_in_their_order_and_no_frame_twice() -> None:
    memory = features(1.0, 1.0, 1.0)
    assert frames_by_source(features(1.0), memory, 3) == (0, 1, 2)
    assert frames_by_source(features(1.0), memory, 9) == (0, 1, 2)


def test_frames_that_see_the_targets_view_are_chosen() -> None:
    target = make_preset(PresetConfig("pan_right", 40.0, 9)).frames((6, 7, 8))
    memory = make_preset(PresetConfig("pan_right", 80.0, 9))
    # The target looks 30 to 40 degrees to the right; the memory does in its frames 3 and 4.
    (best,) = frames_by_view(target, memory, 1)
    assert best in (3, 4)
    assert best not in frames_by_view(target, memory.frames((0, 1, 8)), 1) or best < 3


def test_spread_frames_begin_with_the_first() -> None:
    assert evenly_spread(21, 3) == (0, 7, 14)
    assert evenly_spread(2, 5) == (0, 1)


def test_chosen_frames_are_those_of_each_frames_own_mask() -> None:
    """All frames are tested at once; the choice is that of one mask a frame."""
    target = make_preset(PresetConfig("orbit_left", 30.0, 5))
    memory = make_preset(PresetConfig("sweep", 60.0, 21))
    grid = VideoFovConfig(num_rows=36, num_columns=72)
    wanted = video_fov_mask(target, target, grid)
    gains = [
        (video_fov_mask(memory.frames((i,)), target, grid) & wanted)
        for i in range(memory.num_frames)
    ]
    most = max(int(gain.sum()) for gain in gains)
    (best,) = frames_by_view(target, memory, 1)
    assert int(gains[best].sum()) == most > 0
    first, second = frames_by_view(target, memory, 2)
    added = max(int((gains[best] | gain).sum()) for gain in gains)
    assert int((gains[first] | gains[second]).sum()) == added > most
