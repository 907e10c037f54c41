from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from memv2v_core.model.memory_model import (
    tokenize_clean,
)

Forward = Callable[..., torch.Tensor]
MakeStream = Callable[..., ConditioningStream]
TIMESTEP = 437.5


def assert_close(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, atol=atol, rtol=0)


def identity_cameras() -> FrameCameras:
    return FrameCameras(torch.eye(4).repeat(1, 3, 1, 1), torch.eye(3).repeat(1, 3, 1, 1))


def test_a_fresh_adapter_with_identity_poses_leaves_the_base_unchanged(
    dit: WanTransformer3DModel,
    fresh_adapter: MemoryAdapter,
    forward: Forward,
    make_noisy: Callable,
    make_context: Callable,
):
    got = forward(fresh_adapter, MemoryInputs((), identity_cameras()), rows=2)
    expected = dit(make_noisy(2), torch.full((2,), TIMESTEP), make_context(2)).sample
    assert_close(got, expected)


def test_a_timestep_a_frame_equals_the_bases_own_timestep_a_token(
    dit: WanTransformer3DModel, forward: Forward, make_noisy: Callable, make_context: Callable
):
    timestep = torch.tensor([[900.0, 400.0, 10.0], [30.0, 30.0, 700.0]])
    got = forward(None, MemoryInputs(), rows=2, timestep=timestep)
    a_token = timestep.repeat_interleave(4 * 6, dim=1)
    assert_close(got, dit(make_noisy(2), a_token, make_context(2)).sample)


def test_equal_timesteps_of_all_frames_equal_one_timestep(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    inputs = replace(inputs, clean_timestep="zero")
    got = forward(adapter, inputs, rows=2, timestep=torch.full((2, 3), TIMESTEP))
    assert_close(got, forward(adapter, inputs, rows=2))


def test_clean_tokens_told_the_targets_time_take_the_largest_of_its_frames(
    dit: WanTransformer3DModel, adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    asked = []
    view = DiffusersView(dit)
    embed = view.embed_time
    view.embed_time = lambda timestep: asked.append(timestep) or embed(timestep)
    equal = forward(adapter, inputs, rows=2, timestep=torch.full((2, 3), TIMESTEP))
    assert_close(equal, forward(adapter, inputs, rows=2))
    masked = torch.tensor([[0.0, TIMESTEP, 200.0], [300.0, 0.0, 0.0]])
    forward(adapter, inputs, rows=2, timestep=masked, view=view)
    assert asked[1].tolist() == [TIMESTEP, 300.0]


def test_a_window_is_a_video_of_its_own_with_its_own_frames_and_cameras(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs, make_noisy: Callable
):
    window = window_inputs(inputs, 3, (1, 2), (1, 2))
    source, first, second = window.streams
    assert source.frame_indices == (2, 3)
    assert first.frame_indices == (4, 5, 6)
    assert second.frame_indices == (4, 5, 6, 7)
    assert torch.equal(source.latent, inputs.streams[0].latent[:, :, 1:])
    assert torch.equal(source.cameras.c2w, inputs.streams[0].cameras.c2w[:, 1:])
    assert torch.equal(window.target_cameras.c2w, inputs.target_cameras.c2w[:, 1:])
    assert torch.equal(first.latent, inputs.streams[1].latent)
    part = forward(adapter, window, noisy=make_noisy()[:, :, 1:])
    assert part.shape[2] == 2
    assert (part - forward(adapter, inputs)[:, :, 1:]).abs().max() > 1e-3
    assert torch.equal(
        forward(adapter, window_inputs(inputs, 3, range(3), range(3))), forward(adapter, inputs)
    )


def test_clean_tokens_at_time_zero_agree_with_the_targets_time_only_at_zero(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    at_zero = replace(inputs, clean_timestep="zero")
    assert_close(
        forward(adapter, at_zero, timestep=torch.zeros(1)),
        forward(adapter, inputs, timestep=torch.zeros(1)),
    )
    assert (forward(adapter, at_zero) - forward(adapter, inputs)).abs().max() > 1e-2


def test_sizes_that_patches_do_not_fit_are_padded_and_cut_back(
    dit: WanTransformer3DModel, forward: Forward, make_noisy: Callable, make_context: Callable
):
    noisy = make_noisy(height=7, width=11)
    padded = torch.nn.functional.pad(noisy, (0, 1, 0, 1, 0, 0), mode="replicate")
    expected = dit(padded, torch.full((1,), TIMESTEP), make_context()).sample[..., :7, :11]
    got = forward(None, MemoryInputs(), noisy=noisy)
    assert got.shape == noisy.shape
    assert_close(got, expected)


def test_without_an_adapter_memory_is_what_a_fresh_adapter_makes_of_it(
    fresh_adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    inputs = replace(inputs, target_cameras=None)
    alone = forward(None, inputs)
    assert_close(alone, forward(fresh_adapter, inputs))
    assert (alone - forward(None, replace(inputs, streams=()))).abs().max() > 1e-2


def test_clean_tokens_made_before_equal_those_made_inside(
    dit: WanTransformer3DModel,
    adapter: MemoryAdapter,
    forward: Forward,
    inputs: MemoryInputs,
    make_noisy: Callable,
):
    clean = tokenize_clean(DiffusersView(dit), adapter, inputs, make_noisy().shape)
    assert torch.equal(forward(adapter, inputs, clean=clean), forward(adapter, inputs))


def test_the_order_of_memories_of_one_kernel_does_not_matter(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs, make_stream: MakeStream
):
    one, other = make_stream("memory", 4, 3), make_stream("memory", 4, 4)
    both_ways = [(*inputs.streams, one, other), (other, one, *inputs.streams[::-1])]
    first, second = (
        forward(adapter, replace(inputs, streams=streams, merging=None)) for streams in both_ways
    )
    assert_close(first, second)


def test_gradients_reach_every_adapter_parameter(
    make_adapter: Callable[..., MemoryAdapter], forward: Forward, inputs: MemoryInputs
):
    adapter = make_adapter(has_rays=True)
    forward(adapter, inputs).square().mean().backward()
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_reach_the_memories_and_the_target(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs, make_noisy: Callable
):
    noisy = make_noisy().requires_grad_()
    streams = tuple(
        replace(stream, latent=stream.latent.requires_grad_()) for stream in inputs.streams
    )
    forward(adapter, replace(inputs, streams=streams), noisy=noisy).square().mean().backward()
    for tensor in (noisy, *(stream.latent for stream in streams)):
        assert tensor.grad is not None
        assert tensor.grad.abs().max() > 0


# Cameras: Eq. 16 and Eq. 17


def first_attention_input(
    forward: Forward, adapter: MemoryAdapter, inputs: MemoryInputs
) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    forward(adapter, inputs, probe=lambda i, h, sequence: seen.append(h) if i == 0 else None)
    return seen[0]


def test_eq_16_and_eq_17_differ_at_the_clean_tokens_alone_and_by_their_cameras_embedding(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    inputs = replace(inputs, streams=inputs.streams[:2], merging=None)
    per_video = first_attention_input(forward, adapter, inputs)
    target = first_attention_input(forward, adapter, replace(inputs, camera_conditioning="target"))
    num_target = 3 * 4 * 6
    assert torch.equal(per_video[:, :num_target], target[:, :num_target])
    encode = adapter.blocks[0].cam_encoder
    change = torch.cat(
        [
            (
                encode(stream.cameras.poses()) - encode(inputs.target_cameras.poses())
            ).repeat_interleave(tokens, dim=1)
            for stream, tokens in zip(inputs.streams, (4 * 6, 2 * 3), strict=True)
        ],
        dim=1,
    )
    assert_close(per_video[:, num_target:] - target[:, num_target:], change)
    assert change.abs().amax(-1).min() > 1e-2


def test_eq_16_and_eq_17_agree_when_all_videos_share_the_targets_path(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    streams = tuple(replace(stream, cameras=inputs.target_cameras) for stream in inputs.streams[:2])
    inputs = replace(inputs, streams=streams)
    per_video, target = (
        forward(adapter, replace(inputs, camera_conditioning=kind))
        for kind in ("per_video", "target")
    )
    assert torch.equal(per_video, target)


def test_eq_16_tells_clean_tokens_the_targets_rays_too(
    make_adapter: Callable[..., MemoryAdapter], forward: Forward, inputs: MemoryInputs
):
    adapter = make_adapter(has_rays=True)
    inputs = replace(inputs, streams=inputs.streams[:2])
    shared = tuple(replace(stream, cameras=inputs.target_cameras) for stream in inputs.streams)
    target = forward(adapter, replace(inputs, camera_conditioning="target"))
    assert torch.equal(target, forward(adapter, replace(inputs, streams=shared)))
    assert (target - forward(adapter, inputs)).abs().max() > 1e-3


def test_eq_16_refuses_a_memory_longer_than_the_target(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    with pytest.raises(
        ValueError, match="got a memory of 4 latent frames, wanted at most the target's 3"
    ):
        forward(adapter, replace(inputs, camera_conditioning="target"))


def test_a_window_in_target_conditioning_keeps_what_the_whole_told_its_videos(inputs: MemoryInputs):
    inputs = replace(inputs, streams=inputs.streams[:2], camera_conditioning="target")
    window = window_inputs(inputs, 3, (1, 2), (1, 2))
    assert torch.equal(window.streams[0].cameras.c2w, inputs.target_cameras.c2w[:, 1:])
    assert torch.equal(window.streams[1].cameras.c2w, inputs.target_cameras.c2w)


def test_rays_move_the_output_only_where_the_adapter_has_them(
    make_adapter: Callable[..., MemoryAdapter], forward: Forward, inputs: MemoryInputs
):
    wider = replace(
        inputs.target_cameras,
        intrinsics=inputs.target_cameras.intrinsics * torch.tensor([0.5, 0.5, 1.0]),
    )
    zoomed = replace(inputs, target_cameras=wider)
    without, with_rays = make_adapter(), make_adapter(has_rays=True)
    assert torch.equal(forward(without, inputs), forward(without, zoomed))
    assert (forward(with_rays, inputs) - forward(with_rays, zoomed)).abs().max() > 1e-3
