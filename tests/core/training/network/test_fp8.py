"""Frozen linear layers in fp8.

e4m3 keeps 4 digits of a binary number: a value is off by at most 2^-4 of itself. Below 2^-6 of the
scale steps are 2^-9 of it, so a value is off by at most 2^-10. The scale is a row's largest value
over 448.
"""

import pytest
import torch
from instruments.training_examples import random_example, random_noising
from torch import nn

from memv2v_core.training.network.fp8 import Fp8Linear

pytestmark = pytest.mark.slow


def layer_of(spread: float = 1.0) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(96, 48)
    with torch.no_grad():
        # Rows of very different sizes, as trained weights have.
        layer.weight.mul_(torch.logspace(-3, spread, 48)[:, None])
    return layer.requires_grad_(False)


def test_every_weight_is_off_by_at_most_a_sixteenth_of_itself():
    layer = layer_of()
    stored = Fp8Linear.of(layer)
    assert stored.weight.dtype is torch.float8_e4m3fn
    widened = stored.weight.float() * stored.scale
    error = (widened - layer.weight).abs()
    smallest = layer.weight.abs().amax(1, keepdim=True) / 448 * 2**-10
    assert (error <= torch.maximum(layer.weight.abs() * 2**-4, smallest) * (1 + 1e-5)).all()
    x = torch.randn(200, 96, generator=torch.Generator().manual_seed(1))
    wanted = layer(x) - layer.bias
    off = (stored(x) - layer(x)).norm(dim=0) / wanted.norm(dim=0)
    print(f"\noutputs are off by {off.mean():.3f} of their size, at most {off.max():.3f}")
    assert off.max() < 0.045


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_passes_to_the_input_in_its_type(dtype: torch.dtype):
    stored = Fp8Linear.of(layer_of())
    x = torch.randn(5, 96, dtype=dtype, requires_grad=True)
    out = stored(x)
    assert out.dtype is dtype
    out.float().sum().backward()
    wanted = (stored.weight.float() * stored.scale).sum(0).expand(5, -1)
    tolerance = 1e-4 if dtype is torch.float32 else 0.05
    torch.testing.assert_close(x.grad.float(), wanted, atol=tolerance, rtol=tolerance)
    assert stored.weight.grad is None


def test_a_row_of_zeros_stays_zero():
    layer = layer_of()
    layer.weight[3] = 0
    stored = Fp8Linear.of(layer)
    assert (stored.weight.float() * stored.scale)[3].abs().max() == 0


def test_low_rank_changes_over_it_learn_and_it_stays_as_it_is(make):
    built = make("base.has_fp8=true", "trained.self_attention={rate: 0.01, lora_rank: 4}")
    layers = [m for m in built.model.modules() if isinstance(m, Fp8Linear)]
    # In each block: q, k, v and o of both attentions, and two of the feed-forward.
    assert len(layers) == 3 * 10
    before = [layer.weight.float() for layer in layers]
    example = random_example(built.model.base_info)
    noising = random_noising(example)
    optimizer = torch.optim.AdamW(built.weights.values(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = built.model.loss(example, noising)
        loss.backward()
        assert all(weight.grad is not None for weight in built.weights.values())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    for layer, weight in zip(layers, before, strict=True):
        assert torch.equal(layer.weight.float(), weight)
    assert not any("base_layer" in name for name in built.weights)


def test_what_is_trained_is_not_in_fp8(make):
    built = make("base.has_fp8=true")
    kept = {
        name
        for name, module in built.model.blocks[0].named_modules()
        if isinstance(module, Fp8Linear)
    }
    assert not any("attn1" in name or "cameras" in name for name in kept)
    assert "base.ffn.net.2" in kept
    assert all(weight.dtype is torch.float32 for weight in built.weights.values())
