"""One-way attention: clean tokens see clean tokens alone, the target sees all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.utils.checkpoint import checkpoint

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs, window_inputs
from memv2v_core.tokens.merging import MergeConfig

Forward = Callable[..., torch.Tensor]
NUM_TARGET = 3 * 4 * 6
NUM_BLOCKS = 3


@pytest.fixture
def one_way(inputs: MemoryInputs) -> MemoryInputs:
    """Inputs whose clean tokens see neither target, prompt nor step; nothing is merged."""
    return replace(
        inputs, merging=None, clean_timestep="zero", attention="one_way", clean_reads_text=False
    )


def clean_states(
    forward: Forward, adapter: MemoryAdapter | None, inputs: MemoryInputs, case: int
) -> list[torch.Tensor]:
    """The clean tokens before every block, for another step, prompt and target in each case."""
    generator = torch.Generator().manual_seed(case)
    states: list[torch.Tensor] = []
    forward(
        adapter,
        inputs,
        noisy=torch.randn(1, 16, 3, 8, 12, generator=generator),
        context=torch.randn(1, 5, 24, generator=generator),
        timestep=torch.tensor([900.0 - 700 * case]),
        probe=lambda _i, _h, sequence: states.append(sequence.x[:, NUM_TARGET:]),
    )
    return states


def largest_change(forward: Forward, adapter: MemoryAdapter | None, inputs: MemoryInputs) -> float:
    first, second = (clean_states(forward, adapter, inputs, case) for case in (0, 1))
    assert len(first) == NUM_BLOCKS
    assert first[0].shape[1] == 3 * 4 * 6 + 3 * 2 * 3 + 4 * 1 * 2
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))


def test_clean_tokens_are_the_same_at_every_step_for_every_prompt_and_target(
    adapter: MemoryAdapter, forward: Forward, one_way: MemoryInputs
):
    assert largest_change(forward, adapter, one_way) <= 1e-6
    assert largest_change(forward, None, replace(one_way, target_cameras=None)) <= 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"attention": "two_way"},
        {"clean_timestep": "target"},
        {"clean_reads_text": True},
    ],
)
def test_each_of_the_three_settings_is_needed_for_that(
    adapter: MemoryAdapter, forward: Forward, one_way: MemoryInputs, change: dict
):
    assert largest_change(forward, adapter, replace(one_way, **change)) > 1e-3


def test_the_target_still_sees_every_clean_token(
    adapter: MemoryAdapter, forward: Forward, one_way: MemoryInputs
):
    whole = forward(adapter, one_way)
    for i, stream in enumerate(one_way.streams):
        others = (*one_way.streams[:i], *one_way.streams[i + 1 :])
        changed = replace(stream, latent=stream.latent + 1)
        assert (forward(adapter, replace(one_way, streams=others)) - whole).abs().max() > 1e-3
        moved = forward(adapter, replace(one_way, streams=(*others, changed)))
        assert (moved - whole).abs().max() > 1e-3


def test_it_equals_a_mask_that_hides_the_target_from_clean_tokens(
    dit: WanTransformer3DModel, adapter: MemoryAdapter, forward: Forward, one_way: MemoryInputs
):
    def masked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool)
        # Cross-attention has other lengths and no mask.
        if query.shape[2] == key.shape[2]:
            mask[NUM_TARGET:, :NUM_TARGET] = False
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, mask)

    two_way = replace(one_way, attention="two_way", clean_reads_text=True)
    expected = forward(adapter, two_way, view=DiffusersView(dit, masked))
    got = forward(adapter, replace(two_way, attention="one_way"))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert (got - forward(adapter, two_way)).abs().max() > 1e-3


def test_without_clean_videos_it_is_the_base(
    dit: WanTransformer3DModel,
    forward: Forward,
    make_noisy: Callable,
    make_context: Callable,
):
    inputs = MemoryInputs(clean_timestep="zero", attention="one_way", clean_reads_text=False)
    got = forward(None, inputs, rows=2)
    expected = dit(make_noisy(2), torch.full((2,), 437.5), make_context(2)).sample
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert torch.equal(got, forward(None, MemoryInputs(), rows=2))


@pytest.mark.parametrize("attention", ["two_way", "one_way"])
def test_merging_still_compares_the_target_with_the_clean_frames(
    adapter: MemoryAdapter, forward: Forward, one_way: MemoryInputs, attention: str
):
    inputs = replace(
        one_way, attention=attention, clean_reads_text=True, merging=MergeConfig(share=0.5)
    )
    plans: list = []
    out = forward(adapter, inputs, on_merge=lambda _i, plan: plans.append(plan))
    assert torch.isfinite(out).all()
    # 72 target tokens; 3 source frames of 24, 3 and 4 memory frames of 6 and 2 tokens: 5 of the 10
    # frames are merged to 6, 2 and 1 tokens, then 3 of the 5 that are whole.
    assert [plan.layout.num_target_tokens for plan in plans] == [NUM_TARGET, NUM_TARGET]
    assert plans[0].layout.num_tokens < 170
    assert plans[1].layout.num_tokens < plans[0].layout.num_tokens


def test_a_window_keeps_it(one_way: MemoryInputs):
    window = window_inputs(one_way, 3, (1, 2), (1, 2))
    assert (window.attention, window.clean_reads_text) == ("one_way", False)


def test_gradients_reach_everything_also_through_checkpoints(
    make_adapter: Callable[..., MemoryAdapter], forward: Forward, one_way: MemoryInputs
):
    adapter = make_adapter(has_rays=True, has_base_tokenizer=True)
    # The source at 1x2x2 goes through the learned tokenizer; half of the frames are merged.
    inputs = replace(one_way, merging=MergeConfig(share=0.5))

    def gradients(run: Callable[[], torch.Tensor]) -> dict[str, torch.Tensor]:
        adapter.zero_grad()
        run().square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in adapter.named_parameters()}

    plain = gradients(lambda: forward(adapter, inputs))
    assert "tokenizers.2.weight" in plain
    assert all(gradient.abs().max() > 0 for gradient in plain.values())
    again = gradients(lambda: checkpoint(forward, adapter, inputs, use_reentrant=False))
    assert all(torch.equal(again[name], gradient) for name, gradient in plain.items())
