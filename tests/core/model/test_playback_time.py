"""Playback times on their way to the tokens."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from memv2v_core.model.playback_time import latent_frame_times
from memv2v_core.weights.checkpoint import read_adapter, save_adapter

NAN = float("nan")
MakeCameras = Callable[..., FrameCameras]


def timed(cameras: FrameCameras, start: float) -> FrameCameras:
    """The cameras with times that count up from `start`."""
    num_latent = cameras.c2w.shape[1]
    moments = start + torch.arange(4 * num_latent - 3, dtype=torch.float64)
    return replace(cameras, times=latent_frame_times(moments, num_latent, 4))


@pytest.fixture
def timed_adapter(make_adapter: Callable[..., MemoryAdapter]) -> MemoryAdapter:
    return make_adapter(has_frame_times=True)


def test_the_first_latent_frame_holds_one_moment_and_the_others_four() -> None:
    times = latent_frame_times(torch.arange(20.0, 40.0).double(), 3, 4)
    wanted = [[[20, NAN, NAN, NAN], [21, 22, 23, 24], [25, 26, 27, 28]]]
    torch.testing.assert_close(times, torch.tensor(wanted), rtol=0, atol=0, equal_nan=True)
    assert latent_frame_times(torch.tensor([7.0]), 1, 4).shape == (1, 1, 4)


def test_a_single_moment_keeps_its_embedding_and_four_are_joined(
    timed_adapter: MemoryAdapter, make_cameras: MakeCameras
) -> None:
    block, cameras = timed_adapter.block(0), timed(make_cameras(1), 5.0)
    added = block.embed_frames(cameras, torch.float32) - block.cam_encoder(cameras.poses())
    # The sinusoids of the one moment, 5, by hand.
    angles = [5.0 * 10_000 ** (-i / 128) for i in range(128)]
    features = torch.tensor([angles]).cos(), torch.tensor([angles]).sin()
    first = block.frame_time_embedding(torch.cat(features, dim=1))
    torch.testing.assert_close(added[:, 0], first, atol=1e-5, rtol=0)
    # The first of four moments counts alone in the last convolution, the fourth one nowhere.
    for changed, matters in ((0, True), (1, True), (2, True), (3, False)):
        assert cameras.times is not None
        times = cameras.times.clone()
        times[:, 2, changed] += 3
        other = block.embed_frames(replace(cameras, times=times), torch.float32)
        other = other - block.cam_encoder(cameras.poses())
        assert torch.equal(other[:, :2], added[:, :2])
        assert ((other[:, 2] - added[:, 2]).abs().max() > 1e-3) == matters


def test_times_are_joined_chosen_and_moved_with_their_cameras(make_cameras: MakeCameras) -> None:
    first, second = timed(make_cameras(1), 0.0), timed(make_cameras(2), 10.0)
    assert first.times is not None
    assert second.times is not None
    both = FrameCameras.concatenated([first, second])
    assert both.times is not None
    assert both.times[0, :, 0].tolist() == [0, 1, 5, 10, 11, 15]
    rows = FrameCameras.joined([first, second])
    assert rows.times is not None
    assert rows.times[:, 1, 0].tolist() == [1, 11]
    shared = FrameCameras.concatenated([rows, first])
    assert shared.times is not None
    assert shared.times[:, 4, 0].tolist() == [1, 1]
    chosen = both.frames((5, 1)).to(torch.device("cpu"))
    assert chosen.times is not None
    assert chosen.times[0].tolist() == [
        [15, 16, 17, 18],
        [1, 2, 3, 4],
    ]
    with pytest.raises(AssertionError, match="either every video has a playback time or none"):
        FrameCameras.concatenated([first, make_cameras(2)])


def test_a_window_keeps_the_moments_of_the_whole_target(
    make_cameras: MakeCameras, make_stream: Callable[..., ConditioningStream]
) -> None:
    source = make_stream("source")
    assert source.cameras is not None
    source = replace(source, cameras=timed(source.cameras, 0.0))
    inputs = window_inputs(MemoryInputs((source,), timed(make_cameras(9), 30.0)), 3, (1, 2), (1, 2))
    assert inputs.target_cameras is not None
    assert inputs.target_cameras.times is not None
    assert inputs.target_cameras.times[0, :, 0].tolist() == [31, 35]
    (stream,) = inputs.streams
    assert stream.cameras is not None
    assert stream.cameras.times is not None
    assert stream.cameras.times[0, :, 3].tolist() == [4, 8]


def test_an_adapter_with_times_is_saved_and_without_them_its_file_stays(
    timed_adapter: MemoryAdapter, adapter: MemoryAdapter, tmp_path
) -> None:
    save_adapter(timed_adapter, tmp_path / "times.safetensors")
    config, state = read_adapter(tmp_path / "times.safetensors")
    assert config == timed_adapter.config
    assert all(
        torch.equal(state[name], value) for name, value in timed_adapter.state_dict().items()
    )
    save_adapter(adapter, tmp_path / "none.safetensors")
    assert b"has_frame_times" not in (tmp_path / "none.safetensors").read_bytes()
    assert read_adapter(tmp_path / "none.safetensors")[0] == adapter.config


def test_times_need_cameras_and_groups_of_channels() -> None:
    for dim, has_cameras in ((64, False), (60, True)):
        with pytest.raises(
            ValueError, match="has_frame_times got True .* wanted cameras and a dim"
        ):
            AdapterConfig(dim, 2, 16, has_cameras=has_cameras, has_frame_times=True)
