"""Bytes on a GPU: what stays between steps, and activations against counts of whole steps."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from instruments.cost_recipes import (
    FULL_SIZE,
    TWO_WAY,
    activation_bytes,
    paper_recipe,
    plain_draw,
)

from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.cost.activations import counted_peaks, empty_example
from memv2v_core.training.cost.clips import ClipSizes
from memv2v_core.training.cost.live_bytes import LiveBytes
from memv2v_core.training.cost.memory import is_possible, state_of, weights_of
from memv2v_core.training.cost.planned_model import PlannedModel, planned_model
from memv2v_core.training.objective import Noising

Recipe = Callable[..., TrainConfig]
# A step of the smallest runs on the CPU; the larger one is counted alone.
SMALL, LARGER = ClipSizes(8, 12, 3, 3, 3), ClipSizes(16, 24, 5, 5, 5)
LORA = "trained.self_attention.lora_rank=8"
CASES: dict[str, tuple[str, ...]] = {
    "one_way": (),
    "two_way": TWO_WAY,
    "low_rank": (LORA,),
    "fp8": (LORA, "base.has_fp8=true"),
    "fp32": ("optim.precision=fp32",),
    "without_checkpointing": ("optim.has_checkpointing=false",),
}


QUICK = ("one_way", "fp32")
QUICK_FIRST = [
    case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES
]


@pytest.mark.parametrize("case", QUICK_FIRST)
def test_counts_on_meta_are_those_of_a_real_step(tiny_recipe: Recipe, case: str):
    config, draw = tiny_recipe(*CASES[case]), plain_draw(2, 2, 4)
    counted = counted_peaks(planned_model(config), config, draw, SMALL)
    found = _peaks_on_cpu(planned_model(config), config, draw)
    assert counted.forward == pytest.approx(found[0], rel=0.01)
    assert counted.backward == pytest.approx(found[1], rel=0.01)


@pytest.mark.parametrize("case", QUICK_FIRST)
def test_a_straight_line_gives_the_bytes_of_other_draws(tiny_recipe: Recipe, case: str):
    config, draw = tiny_recipe(*CASES[case]), plain_draw(2, 4, 8, 8)
    counted = max(counted_peaks(planned_model(config), config, draw, LARGER))
    assert activation_bytes(config, draw, LARGER, num_blocks=2) == pytest.approx(counted, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kernels"),
    [
        ("one_way", (4,)),
        ("one_way", (4, 4, 4)),
        ("one_way", (2,) * 6),
        ("two_way", (4, 4, 4)),
        ("low_rank", (2,) * 6),
        ("without_checkpointing", (4,)),
    ],
)
def test_activations_are_those_of_a_whole_step_at_full_size(case: str, kernels: tuple[int, ...]):
    config, draw = paper_recipe(*CASES[case]), plain_draw(*kernels)
    counted = max(counted_peaks(planned_model(config), config, draw, FULL_SIZE))
    assert activation_bytes(config, draw, FULL_SIZE, 30) == pytest.approx(counted, rel=0.02)


@pytest.mark.slow
def test_merging_needs_less_memory_than_the_same_draw_without():
    config, whole = paper_recipe(), plain_draw(4, 4, 4)
    merged = counted_peaks(planned_model(config), config, replace(whole, share=0.3), FULL_SIZE)
    assert max(merged) < activation_bytes(config, whole, FULL_SIZE, 30)


def test_trained_weights_take_sixteen_bytes_and_frozen_ones_two():
    config = paper_recipe()
    state = state_of(config, _weights(config), "one GPU", 1, 30)
    per_number = 375_762_432 * 4
    assert (state.trained, state.gradients, state.moments) == (
        per_number,
        per_number,
        2 * per_number,
    )
    # Norms, tables and the time embedding are kept in fp32.
    assert state.frozen == pytest.approx(2 * 1_135_619_776, rel=0.01)
    assert state.average == state.copies == 0
    averaged = replace(config, optim=replace(config.optim, ema=0.99))
    assert state_of(averaged, _weights(averaged), "one GPU", 1, 30).average == per_number


def test_ddp_copies_gradients_and_fsdp_divides_everything():
    config = paper_recipe()
    weights = _weights(config)
    alone, ddp, fsdp = (
        state_of(config, weights, way, 8, 30) for way in ("one GPU", "DDP", "FSDP2")
    )
    assert ddp.total - alone.total == alone.gradients
    assert fsdp.total - fsdp.copies == pytest.approx(alone.total / 8)
    # Two blocks of 50 M in bf16 and one block's gradients, and what lies outside blocks.
    assert 0.2e9 < fsdp.copies < 0.5e9


def test_frozen_blocks_in_main_memory_take_no_memory_of_the_gpu(tiny_recipe: Recipe):
    config = tiny_recipe("base.has_fp8=true", LORA)
    few = tiny_recipe("base.has_fp8=true", LORA, "optim.resident_blocks=1")
    weights = _weights(few)
    whole, resident = (state_of(each, weights, "one GPU", 1, 2).frozen for each in (config, few))
    assert whole - resident == weights.block_frozen_bytes
    # Self-attention, cross-attention and feed-forward of 256 and 1536 in fp8; scales, biases, norms
    # and the table of modulations.
    assert weights.block_frozen_bytes == pytest.approx(8 * 256**2 + 2 * 256 * 1536, rel=0.05)
    assert is_possible(config, weights, "FSDP2")
    assert not is_possible(few, weights, "FSDP2")


def _weights(config: TrainConfig):
    return weights_of(config, planned_model(config))


def _peaks_on_cpu(planned: PlannedModel, config: TrainConfig, draw) -> tuple[int, int]:
    """Bytes of a real step's forward and backward pass at their fullest moments."""
    model = planned.model
    example = _with_numbers(empty_example(model, draw, SMALL))
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    weights = [each for each in model.parameters() if each.requires_grad]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    model.set_checkpointing(config.optim.has_checkpointing)
    noising = Noising(torch.full((1,), 0.5), torch.ones(1), torch.zeros(example.target.shape))
    known = [*model.parameters(), *model.buffers(), *(each.grad for each in weights)]
    is_bf16 = config.optim.precision == "bf16"
    with LiveBytes(known, device="cpu") as live:
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            loss = model.loss(example, noising)
        forward, live.peak = live.peak, live.now
        loss.backward()
    return forward, live.peak


def _with_numbers(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    if isinstance(value, tuple):
        return tuple(_with_numbers(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: _with_numbers(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **changed)
    return value
