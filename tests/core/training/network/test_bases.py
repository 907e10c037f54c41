"""A built-in model as the base of a run. Published bases have tests of their own."""

from pathlib import Path

import pytest
import torch
from instruments.training_examples import random_example
from instruments.training_runs import BUILTIN, changed, finished_run, recipe

from memv2v_core.builtin.bundle import load_bundle
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.training.export import export_adapter
from memv2v_core.training.launch import build
from memv2v_core.training.network.parts import part_of
from memv2v_core.weights.adapter_file import read_adapter_file

pytestmark = pytest.mark.slow

TIMES = torch.tensor([300.0, 900.0])
OWN_WAY = "adapter={attention: two_way, has_base_tokenizer: false}"


@pytest.mark.parametrize("change", [OWN_WAY, "adapter.attention=two_way"], ids=["own", "1x2x2"])
def test_a_builtin_base_begins_as_it_is(tmp_path: Path, change: str):
    """With its own adapter; a learned 1x2x2 tokenizer begins as its patch embedding."""
    bundle, built = load_bundle("novel_view"), build(recipe(BUILTIN, change), tmp_path)
    example = random_example(bundle.base_info())
    with torch.no_grad():
        found = built.model.velocity(example.target, TIMES, example)
        wanted = memory_forward(
            bundle.backbone,
            bundle.adapter,
            example.target,
            TIMES,
            bundle.empty_context(2),
            example.inputs,
        )
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert built.parts.name == "built-in: novel_view"
    assert built.model.base_info.attention == "two_way"


def test_the_recipes_way_of_attention_replaces_the_builtin_models(tmp_path: Path):
    base = build(recipe(BUILTIN), tmp_path).model.base_info
    assert (base.attention, base.clean_timestep) == ("one_way", "zero")
    assert base.has_cameras


def test_a_run_goes_on_from_an_adapter_file(tmp_path: Path):
    config = recipe(BUILTIN, "trained.self_attention=null")
    finished_run(config, tmp_path / "first")
    path = export_adapter(config, tmp_path / "first", "test", tmp_path / "first.safetensors")
    begun = build(changed(config, f"base.adapter={path}"), tmp_path / "second")
    state = read_adapter_file(path).state
    own = {
        name: weight
        for name, weight in begun.model.named_parameters()
        if part_of(name) in ("cameras", "projector", "tokenizers", "mergers")
    }
    assert len(own) == len(state)
    for name, weight in own.items():
        stored = name.removeprefix("adapter.").replace(".cameras.", ".")
        assert torch.equal(weight, state[stored]), name


def test_an_adapter_that_changes_its_base_is_no_beginning(tmp_path: Path):
    config = recipe(BUILTIN, "optim.steps=1")
    finished_run(config, tmp_path / "first")
    path = export_adapter(config, tmp_path / "first", "test", tmp_path / "first.safetensors")
    with pytest.raises(ValueError, match="also changes the base's self-attention; resume its run"):
        build(changed(config, f"base.adapter={path}"), tmp_path / "second")


def test_a_builtin_base_for_the_other_task_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="text_edit for text_edit, wanted one for novel_view"):
        build(recipe(BUILTIN, "base.name=text_edit"), tmp_path)
