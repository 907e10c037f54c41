"""The network of a run as one module of named parts."""

from pathlib import Path

import pytest
import torch
from instruments.training_examples import random_example, random_noising

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.training.codec_trainer import fit_codec, save_codec
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.cost.live_bytes import LiveBytes
from memv2v_core.training.launch import Built, build
from memv2v_core.training.network.parts import part_of

pytestmark = pytest.mark.slow


def gradients_of(built: Built, has_checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Every gradient of one loss, and the peak of bytes that live beside the weights."""
    model, weights = built.model, built.weights
    model.set_checkpointing(has_checkpointing)
    example = random_example(model.base_info, side=16, num_frames=4)
    noising = random_noising(example)
    # Gradients take their memory before the count begins.
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    with LiveBytes([*model.parameters(), *model.buffers()], device="cpu") as live:
        model.loss(example, noising).backward()
    return {name: weight.grad for name, weight in weights.items()}, live.peak


@pytest.mark.parametrize("attention", ["one_way", "two_way"])
def test_checkpointing_gives_the_same_gradients_in_less_memory(make, attention: str):
    built = make(f"adapter.attention={attention}", "base.model.num_layers=9")
    plain, plain_peak = gradients_of(built, False)
    again, checkpointed_peak = gradients_of(built, True)
    largest = max(gradient.abs().max().item() for gradient in plain.values())
    differences = {
        name: (gradient - again[name]).abs().max().item() for name, gradient in plain.items()
    }
    print(
        f"\n{attention}: largest difference {max(differences.values()):.1e} of gradients up to "
        f"{largest:.2f}; peak {plain_peak / 2**20:.1f} MiB, with checkpointing "
        f"{checkpointed_peak / 2**20:.1f} MiB"
    )
    assert max(differences.values()) <= 1e-6 * max(1, largest)
    assert checkpointed_peak < 0.4 * plain_peak


def test_every_weight_has_one_name_and_one_part(make):
    built = make("trained.self_attention.lora_rank=2")
    model, parts = built.model, built.parts
    named = dict(model.named_parameters(remove_duplicate=False))
    assert len({id(weight) for weight in named.values()}) == len(named)
    whole = sum(p.numel() for p in model.parameters())
    blocks = sum(p.numel() for block in model.blocks for p in block.parameters())
    outside = sum(p.numel() for part in (parts.dit, parts.adapter) for p in part.parameters())
    assert whole == blocks + outside
    assert {part_of(name) for name in named} == {
        *("cameras", "projector", "tokenizers", "mergers", "self_attention", "base"),
    }


def test_the_training_view_computes_what_the_plain_view_computes(make):
    built = make()
    model, example = built.model, random_example(built.model.base_info)
    timestep = torch.tensor([300.0, 900.0])
    with torch.no_grad():
        trained = model.velocity(example.target, timestep, example)
        plain = memory_forward(
            DiffusersView(built.parts.dit),
            built.parts.adapter,
            example.target,
            timestep,
            torch.zeros(2, 1, 8),
            example.inputs,
        )
    assert torch.equal(trained, plain)


def test_an_editor_owns_its_text_encoder_and_locator(editor_config: TrainConfig, tmp_path: Path):
    save_codec(fit_codec(editor_config, torch.device("cpu")), tmp_path)
    model = build(editor_config, tmp_path).model
    assert {part_of(name) for name, _ in model.named_parameters()} == {
        *("tokenizers", "mergers", "self_attention", "base", "text", "locator"),
    }
