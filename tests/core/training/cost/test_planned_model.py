"""Parameters of a run, counted before anything is loaded."""

from pathlib import Path

import pytest
import torch
from instruments.cost_recipes import paper_recipe
from instruments.published import diffusers_wan
from instruments.training_runs import NOVEL_VIEW, TEXT_EDIT, recipe
from safetensors.torch import save_file

from memv2v_core.training.cost.base_sizes import SIZES, planned_base
from memv2v_core.training.cost.planned_model import planned_model
from memv2v_core.training.network.bases import build_parts
from memv2v_core.training.network.module import TrainedModel
from memv2v_core.training.network.parts import add_lora, freeze_others, num_parameters


def test_the_papers_recipe_trains_376_million_numbers():
    planned = planned_model(paper_recipe())
    # 30 blocks of 1536: q, k, v, o with biases and two norms; a projector; 12 pose numbers. Two
    # mergers of 2x2. Tokenizers of 16 channels at 2x2, 4x4 and 8x8.
    assert num_parameters(planned.weights) == {
        "self_attention": 30 * (4 * (1536**2 + 1536) + 2 * 1536),
        "projector": 30 * (1536**2 + 1536),
        "cameras": 30 * (12 * 1536 + 1536),
        "mergers": 2 * (4 * 1536**2 + 1536),
        "tokenizers": 16 * (4 + 16 + 64) * 1536 + 3 * 1536,
    }
    assert sum(num_parameters(planned.weights).values()) == 375_762_432


def test_a_planned_model_has_sizes_and_no_numbers():
    planned = planned_model(paper_recipe(), num_blocks=2)
    assert {each.device.type for each in planned.model.parameters()} == {"meta"}
    assert len(planned.model.blocks) == 2


@pytest.mark.parametrize(
    ("size", "billions"),
    # Wan's own cards say 1.3B, 14B and 5B.
    [("wan2.1-1.3b", 1.419), ("wan2.1-14b", 14.289), ("recammaster", 1.419), ("wan2.2-5b", 5.000)],
)
def test_known_sizes_are_those_of_the_published_bases(size: str, billions: float):
    planned = planned_model(paper_recipe(f"base.size={size}"), num_blocks=1)
    dit = [each for name, each in planned.model.named_parameters() if "adapter" not in name]
    inside = [each for name, each in planned.model.blocks[0].base.named_parameters()]
    num_blocks = SIZES[size][1].num_blocks
    outside = sum(each.numel() for each in dit) - sum(
        each.numel() for each in planned.model.blocks[0].parameters()
    )
    found = outside + num_blocks * sum(each.numel() for each in inside)
    assert found / 1e9 == pytest.approx(billions, abs=6e-4)


def test_low_rank_changes_are_counted_as_they_are_injected():
    config = recipe(NOVEL_VIEW, "trained.self_attention.lora_rank=4")
    parts = build_parts(config, torch.float32)
    add_lora(parts.dit, config.trained)
    model = TrainedModel(parts.dit, parts.adapter, parts.base)
    injected = num_parameters(freeze_others(model, config.trained))
    planned = num_parameters(planned_model(config).weights)
    assert planned == injected
    # Two matrices of 64 x 4 for each of q, k, v and o of three blocks.
    assert planned["self_attention"] == 3 * 4 * 2 * 64 * 4


def test_a_small_editor_is_counted_with_its_text_encoder():
    counts = num_parameters(planned_model(recipe(TEXT_EDIT)).weights)
    assert set(counts) == {"base", "self_attention", "tokenizers", "mergers", "text", "locator"}


def test_the_header_of_a_file_gives_its_sizes(tmp_path: Path):
    path = tmp_path / "base.safetensors"
    weights = diffusers_wan(16, 16)
    save_file(weights, path)
    config = paper_recipe(f"base.path={path}", "base.size=null")
    base = planned_base(config.base)
    assert (base.published.kind, base.sizes.dim, base.sizes.num_blocks) == ("wan2.1", 128, 2)
    planned = planned_model(config)
    own = sum(each.numel() for name, each in planned.model.named_parameters() if _is_base(name))
    assert own == sum(each.numel() for each in weights.values())


def test_a_base_without_file_and_size_is_refused(tmp_path: Path):
    config = paper_recipe(f"base.path={tmp_path / 'none.ckpt'}", "base.size=null")
    with pytest.raises(ValueError, match="name the base's size, one of wan2.1-1.3b"):
        planned_model(config)


def test_a_base_of_the_other_task_is_refused():
    with pytest.raises(ValueError, match="use LucyEdit for text_edit"):
        planned_model(paper_recipe("base.size=lucyedit"))


def _is_base(name: str) -> bool:
    return name.startswith("dit.") or ".base." in name
