"""Merging inside the DiT: where it happens, and what is merged with the tokens."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.block import TokenSequence
from memv2v_core.model.camera_encoder import FrameCameras
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import score_frames
from memv2v_core.tokens.merging import MergeConfig, MergePlan, merged_layout

Forward = Callable[..., torch.Tensor]
MakeStream = Callable[..., ConditioningStream]
TIMESTEP = 437.5


def assert_close(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(got, expected, atol=atol, rtol=0)


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
        poses = after.frame_of_token[0, group.tokens].view(group.num_frames, -1)
        assert torch.equal(poses.amin(1), poses.amax(1))  # one frame, one camera
        for frame, pose in zip(positions, poses[:, 0], strict=True):
            whole = before.positions[0, (before.frame_of_token[0, :, 0] == pose)]
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
