"""New networks: what they do before their first step."""

from dataclasses import replace

import pytest
import torch
from instruments.training_examples import random_example, random_noising
from torch import nn

from memv2v_core.bases.base_info import BaseInfo, adapted
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.example import Example
from memv2v_core.training.network.bases import new_base
from memv2v_core.training.network.fresh import build_network, new_adapter_config
from memv2v_core.training.objective import flow_matching_loss

PROMPTS = ("put a hat on the red ball", "give the blue box a new colour")


def network_of(config: TrainConfig) -> nn.ModuleDict:
    torch.manual_seed(0)
    model = config.base.model
    return build_network(model, new_adapter_config(model, config.adapter))


@pytest.fixture(scope="module")
def editor(editor_config: TrainConfig) -> nn.ModuleDict:
    return network_of(editor_config)


@pytest.fixture(scope="module")
def example(editor_config: TrainConfig) -> Example:
    """An edit whose latents use the channels that a new editor uses."""
    model = editor_config.base.model
    adapter = new_adapter_config(model, editor_config.adapter)
    base: BaseInfo = adapted(new_base(model), adapter, "trained")
    drawn = random_example(base, (2, 4), num_frames=2, side=4)
    unused = [*range(model.num_used, 20), *range(20 + model.num_used, 40)]
    for latent in (drawn.target, drawn.source, *(s.latent for s in drawn.inputs.streams)):
        latent[:, [i for i in unused if i < latent.shape[1]]] = 0
    named = (torch.arange(2 * 8).view(2, 8) % 3 == 0).float()
    return replace(drawn, prompts=PROMPTS, named=named)


def test_a_new_network_can_be_walked_and_starts_as_averages(tiny_config: TrainConfig):
    network = network_of(tiny_config)
    assert network["adapter"].config.clean_timestep == "zero"
    assert DiffusersView(network["dit"]).num_blocks == 3
    base = network["dit"].patch_embedding.weight
    for kernel in ("2", "4", "8"):
        learned = network["adapter"].tokenizers[kernel].weight
        torch.testing.assert_close(learned.sum((2, 3, 4)), base.sum((2, 3, 4)), atol=1e-5, rtol=0)
    assert torch.equal(network["adapter"].tokenizers["2"].weight, base)


def test_its_adapter_is_the_one_that_the_recipe_asks_for(
    tiny_config: TrainConfig, editor_config: TrainConfig
):
    views = new_adapter_config(tiny_config.base.model, tiny_config.adapter)
    assert (views.attention, views.has_base_tokenizer) == ("one_way", True)
    assert (views.has_cameras, views.has_rays, views.has_keyframe) == (True, True, False)
    edits = new_adapter_config(editor_config.base.model, editor_config.adapter)
    assert (edits.attention, edits.has_base_tokenizer) == ("two_way", False)
    assert (edits.has_cameras, edits.has_rays, edits.has_keyframe) == (False, False, True)


def test_a_fresh_editor_predicts_the_noisy_target_less_its_source(
    editor: nn.ModuleDict, example: Example
):
    noisy = random_noising(example).noise * (example.target != 0)
    with torch.no_grad():
        velocity = memory_forward(
            DiffusersView(editor["dit"]),
            editor["adapter"],
            torch.cat((noisy, example.source), dim=1),
            torch.full((2,), 900.0),
            editor["text"](PROMPTS),
            example.inputs,
        )
    wanted = noisy - example.source
    assert (velocity - wanted).std() < 0.45 * wanted.std()


def test_channels_that_carry_nothing_are_not_read(
    editor: nn.ModuleDict, editor_config: TrainConfig
):
    used = editor_config.base.model.num_used
    silent = [*range(used, 20), *range(20 + used, 40)]
    assert editor["dit"].patch_embedding.weight[:, silent].abs().max() == 0


def test_more_channels_than_a_dit_has_room_for_are_refused(editor_config: TrainConfig):
    wide = replace(editor_config.base.model, used_channels=20)
    config = replace(editor_config, base=replace(editor_config.base, model=wide))
    with pytest.raises(
        ValueError, match="used_channels got 20, wanted at most 8 for a DiT 64 wide"
    ):
        network_of(config)


def test_the_locator_adds_what_it_misses_and_teaches_the_text_encoder(
    editor_config: TrainConfig, example: Example
):
    network = network_of(editor_config)
    nn.init.normal_(network["dit"].blocks[0].attn2.to_out[0].weight, std=0.1)  # silent at first
    view, context = DiffusersView(network["dit"]), network["text"](example.prompts)
    noising = random_noising(example)
    plain, both = (
        flow_matching_loss(view, network["adapter"], example, context, noising, locator)
        for locator in (None, network["locator"])
    )
    (gradient,) = torch.autograd.grad(both - plain, network["text"].model.shared.weight)
    assert both > plain
    assert gradient.abs().max() > 0
