from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter, start_from_base
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs, window_inputs
from memv2v_core.model.memory_model import (
    TokenSequence,
    memory_forward,
    score_frames,
    tokenize_clean,
)
from memv2v_core.tokens.merging import MergeConfig, MergePlan, merged_layout

Forward = Callable[..., torch.Tensor]
MakeStream = Callable[..., ConditioningStream]
TIMESTEP = 437.5


@pytest.fixture
def forward(dit: WanTransformer3DModel, make_noisy: Callable, make_context: Callable) -> Forward:
    """forward(adapter, inputs, rows, timestep, **others): one memory forward on fixed noise and
    text.
    """

    def run(
        adapter: MemoryAdapter | None,
        inputs: MemoryInputs,
        rows: int = 1,
        timestep: torch.Tensor | None = None,
        noisy: torch.Tensor | None = None,
        context: torch.Tensor | None = None,
        view: DiffusersView | None = None,
        **others: object,
    ) -> torch.Tensor:
        noisy = make_noisy(rows) if noisy is None else noisy
        context = make_context(rows) if context is None else context
        timestep = torch.full((len(noisy),), TIMESTEP) if timestep is None else timestep
        return memory_forward(
            view or DiffusersView(dit), adapter, noisy, timestep, context, inputs, **others
        )

    return run


@pytest.fixture
def fresh_adapter(dit: WanTransformer3DModel, adapter: MemoryAdapter) -> MemoryAdapter:
    start_from_base(adapter, dit.patch_embedding.weight, dit.patch_embedding.bias)
    return adapter


@pytest.fixture
def inputs(make_stream: MakeStream, make_cameras: Callable[..., FrameCameras]) -> MemoryInputs:
    """A source, memories at every coarse kernel, all with cameras, half of the frames merged."""
    streams = (
        make_stream("source"),
        make_stream("memory", 4, 1),
        make_stream("memory", 8, 2, num_frames=4),
    )
    return MemoryInputs(streams, make_cameras(9), merging=MergeConfig(share=0.5))


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
    assert first.frame_indices == (4, 5, 6) and second.frame_indices == (4, 5, 6, 7)
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
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_gradients_reach_the_memories_and_the_target(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs, make_noisy: Callable
):
    noisy = make_noisy().requires_grad_()
    streams = tuple(
        replace(stream, latent=stream.latent.requires_grad_()) for stream in inputs.streams
    )
    forward(adapter, replace(inputs, streams=streams), noisy=noisy).square().mean().backward()
    for tensor in (noisy, *(stream.latent for stream in streams)):
        assert tensor.grad is not None and tensor.grad.abs().max() > 0


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


# Merging


def plans_of(
    forward: Forward, adapter: MemoryAdapter | None, inputs: MemoryInputs, **others: object
) -> dict[int, MergePlan]:
    plans: dict[int, MergePlan] = {}
    forward(adapter, inputs, on_merge=plans.__setitem__, **others)
    return plans


def test_a_batch_of_two_equals_two_batches_of_one_with_merging(
    adapter: MemoryAdapter,
    forward: Forward,
    make_stream: MakeStream,
    make_cameras: Callable,
    make_noisy: Callable,
    make_context: Callable,
):
    streams = (
        make_stream("source", 2, 0, rows=2),
        make_stream("memory", 4, 1, rows=2),
        make_stream("memory", 4, 2),  # shared by both rows
        make_stream("memory", 8, 3, num_frames=5, rows=2),
    )
    inputs = MemoryInputs(
        streams, make_cameras(9, rows=2), merging=MergeConfig(share=0.5), clean_timestep="zero"
    )
    timestep = torch.tensor([900.0, 120.0])
    both, plans = (
        forward(adapter, inputs, rows=2, timestep=timestep),
        plans_of(forward, adapter, inputs, rows=2),
    )
    assert any(
        not torch.equal(*piece.kept)
        for plan in plans.values()
        for piece in plan.pieces
        if hasattr(piece, "kept")
    )

    def row_of(cameras: FrameCameras, row: int) -> FrameCameras:
        return FrameCameras(cameras.c2w[row : row + 1], cameras.intrinsics[row : row + 1])

    for row in range(2):
        own = tuple(
            replace(s, latent=s.latent[row : row + 1], cameras=row_of(s.cameras, row))
            if len(s.latent) == 2
            else s
            for s in streams
        )
        alone = forward(
            adapter,
            replace(inputs, streams=own, target_cameras=row_of(inputs.target_cameras, row)),
            timestep=timestep[row : row + 1],
            noisy=make_noisy(2)[row : row + 1],
            context=make_context(2)[row : row + 1],
        )
        assert_close(both[row : row + 1], alone)


def test_merging_happens_at_one_and_two_thirds_and_follows_the_planned_layout(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    plans = plans_of(forward, adapter, inputs)
    assert list(plans) == [1, 2]  # of three blocks
    layouts: list = []
    forward(adapter, inputs, probe=lambda i, h, sequence: layouts.append(sequence.layout))
    assert plans[1].layout == merged_layout(layouts[0], inputs.merging) == layouts[2]
    assert plans[2].layout == merged_layout(plans[1].layout, inputs.merging)


def test_all_that_tokens_carry_is_merged_with_them(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    seen: dict[int, TokenSequence] = {}
    forward(adapter, inputs, probe=lambda i, h, sequence: seen.__setitem__(i, sequence))
    before, after = seen[1], seen[2]
    for group in after.layout.groups:
        positions = after.positions[0, group.tokens].view(
            group.num_frames, group.rows, group.columns, 3
        )
        poses = after.pose_of_token[0, group.tokens].view(group.num_frames, -1)
        assert torch.equal(poses.amin(1), poses.amax(1))  # one frame, one camera
        for frame, pose in zip(positions, poses[:, 0], strict=True):
            whole = before.positions[0, (before.pose_of_token[0, :, 0] == pose)]
            assert torch.equal(frame[..., 0].unique(), whole[:, 0].unique())
            if not group.is_merged:
                assert torch.equal(frame.flatten(0, 1), whole)
    merged = next(
        group for group in after.layout.groups if group.role == "source" and group.is_merged
    )
    assert after.positions[0, merged.tokens][:3, 1:].tolist() == [
        [0.5, 0.5],
        [0.5, 2.5],
        [0.5, 4.5],
    ]


def test_a_fresh_merger_averages(
    fresh_adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    assert_close(
        forward(fresh_adapter, inputs), forward_without_mergers(forward, fresh_adapter, inputs)
    )


def forward_without_mergers(
    forward: Forward, adapter: MemoryAdapter, inputs: MemoryInputs
) -> torch.Tensor:
    adapter.mergers = torch.nn.ModuleList()
    return forward(adapter, inputs)


def test_keeping_equals_no_merging_and_discarding_equals_neither(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    none = forward(adapter, replace(inputs, merging=None))
    keep, discard, merge = (
        forward(adapter, replace(inputs, merging=MergeConfig(unresponsive=kind)))
        for kind in ("keep", "discard", "merge")
    )
    assert torch.equal(keep, none)
    assert (discard - none).abs().max() > 1e-3
    assert (merge - none).abs().max() > 1e-3
    assert (merge - discard).abs().max() > 1e-3


@pytest.mark.parametrize("unresponsive", ["merge", "discard"])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_frames_may_be_unresponsive(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs, share: float, unresponsive: str
):
    out = forward(
        adapter, replace(inputs, merging=MergeConfig(share=share, unresponsive=unresponsive))
    )
    assert torch.isfinite(out).all()
    if share == 0:
        assert_close(out, forward(adapter, replace(inputs, merging=None)))


def test_a_pool_of_memories_without_memories_merges_nothing(
    adapter: MemoryAdapter, forward: Forward, inputs: MemoryInputs
):
    first_turn = replace(inputs, streams=inputs.streams[:1], merging=MergeConfig(pool="memory"))
    assert plans_of(forward, adapter, first_turn) == {}
    assert torch.equal(
        forward(adapter, first_turn), forward(adapter, replace(first_turn, merging=None))
    )


def test_only_rotated_keys_tell_equal_frames_apart_by_their_time(
    dit: WanTransformer3DModel, forward: Forward, inputs: MemoryInputs, make_stream: MakeStream
):
    memory = make_stream("memory", 4, 1)
    still = replace(memory, latent=memory.latent[:, :, :1].expand(-1, -1, 3, -1, -1), cameras=None)
    scores: dict[bool, torch.Tensor] = {}

    def probe(i: int, h: torch.Tensor, sequence: TokenSequence) -> None:
        if i == 0:
            for rotated in (False, True):
                config = MergeConfig(rotated_keys=rotated)
                scores[rotated] = score_frames(DiffusersView(dit), 0, h, sequence, config)

    forward(None, MemoryInputs((still,)), probe=probe)
    torch.testing.assert_close(scores[False], torch.full((1, 3), 1 / 3))
    assert (scores[True] - 1 / 3).abs().max() > 1e-3
