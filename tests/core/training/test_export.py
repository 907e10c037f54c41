"""Files of a run give the model that the run trained."""

import dataclasses
from pathlib import Path

import pytest
import torch
from instruments.training_examples import random_example
from instruments.training_runs import BUILTIN, changed, finished_run, recipe

from memv2v_core.bases.base_info import adapted
from memv2v_core.builtin import bundle
from memv2v_core.builtin.bundle import build_dit, load_bundle, read_dit, read_info
from memv2v_core.builtin.info import DitConfig, builtin_base
from memv2v_core.cameras.extent import Reach
from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.training.checkpoints import best_weights, newest_checkpoint, put_weights
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.data.example import Example
from memv2v_core.training.export import (
    base_changes,
    builtin_info,
    export_adapter,
    export_run,
    native_dit,
)
from memv2v_core.training.launch import Built, build
from memv2v_core.weights.adapter_file import read_adapter_file
from memv2v_core.weights.base_changes import apply_base_changes
from memv2v_core.weights.checkpoint import to_diffusers_names
from memv2v_core.weights.wan_shapes import shapes_hash, wan_shapes

pytestmark = pytest.mark.slow

FULL, LORA = "seed=0", "trained.self_attention={rate: 0.01, lora_rank: 4, lora_alpha: 6}"
TIMES = torch.tensor([300.0, 900.0])


def own_velocity(built: Built, example: Example) -> torch.Tensor:
    """What the trainer's own model makes of an example."""
    with torch.no_grad():
        return built.model.velocity(example.target, TIMES, example)


def with_last_weights(config: TrainConfig, folder: Path) -> Built:
    """The trainer's own model after a run."""
    built, newest = build(config, folder), newest_checkpoint(folder)
    put_weights(built.weights, best_weights(newest), newest)
    return built


@pytest.mark.parametrize("change", [FULL, LORA], ids=["full", "lora"])
def test_an_adapter_file_on_its_base_computes_what_the_trainer_computes(
    tmp_path: Path, change: str
):
    config = recipe(BUILTIN, change)
    finished_run(config, tmp_path)
    path = export_adapter(config, tmp_path, "test", tmp_path / "adapter.safetensors")
    file, info = read_adapter_file(path), read_info("novel_view")
    # Step 1: the base in fp32 with the file's changes, and the file's adapter.
    native = {name: tensor.float() for name, tensor in read_dit("novel_view", info).items()}
    dit = build_dit(info.dit)
    dit.load_state_dict(to_diffusers_names(apply_base_changes(native, file.base_changes)))
    adapter = MemoryAdapter(file.config)
    adapter.load_state_dict(file.state)
    base = adapted(
        builtin_base("novel_view", info, load_bundle("novel_view").codec.ratios),
        file.config,
        "trained",
    )
    # Step 2: both models on one example.
    built = with_last_weights(config, tmp_path)
    assert built.model.base_info == base
    example = random_example(base)
    wanted = own_velocity(built, example)
    with torch.no_grad():
        found = memory_forward(
            DiffusersView(dit),
            adapter,
            example.target,
            TIMES,
            torch.zeros(2, 1, info.dit.text_dim),
            example.inputs,
        )
    apart = (found - wanted).abs().max().item() / wanted.abs().max().item()
    untrained = (own_velocity(build(config, tmp_path), example) - wanted).abs().max().item()
    print(
        f"\nfile and trainer are apart by {apart:.1e}; training moved the output by {untrained:.2f}"
    )
    assert apart < 1e-5
    assert untrained > 1e-2
    # Step 3: what the file says of itself.
    kinds = {name.partition("self_attn.")[2].partition(".")[2] for name in file.base_changes}
    assert kinds == ({"diff", "diff_b"} if change is FULL else {"lora_A.weight", "lora_B.weight"})
    record = file.record
    assert (record.base, record.recipe, record.steps) == ("built-in: novel_view", "test", 3)
    assert record.base_shapes == shapes_hash(wan_shapes(record.base_sizes))
    assert "self_attention" in record.trained


def test_changes_of_a_base_in_fp8_are_differences_to_the_base_itself(tmp_path: Path):
    """Not to its rounded weights."""
    config = recipe(BUILTIN, "base.has_fp8=true")
    finished_run(config, tmp_path)
    built, info = with_last_weights(config, tmp_path), read_info("novel_view")
    native = {name: tensor.float() for name, tensor in read_dit("novel_view", info).items()}
    changes = base_changes(built, config, native_dit(config, tmp_path))
    for layer in ("q", "k", "v", "o", "norm_q"):
        name = f"blocks.2.self_attn.{layer}"
        place = {"o": "to_out.0", "norm_q": "norm_q"}.get(layer, f"to_{layer}")
        learnt = built.weights[f"blocks.2.base.attn1.{place}.weight"].detach()
        torch.testing.assert_close(native[f"{name}.weight"] + changes[f"{name}.diff"], learnt)
    record = read_adapter_file(
        export_adapter(config, tmp_path, "test", tmp_path / "a.safetensors")
    ).record
    assert record.base_shapes == shapes_hash(wan_shapes(record.base_sizes))


def test_a_run_that_leaves_the_base_alone_changes_nothing_of_it(tmp_path: Path):
    config = recipe(BUILTIN, "trained.self_attention=null")
    finished_run(config, tmp_path)
    path = export_adapter(config, tmp_path, "test", tmp_path / "deep" / "adapter.safetensors")
    assert read_adapter_file(path).base_changes == {}


def test_what_no_adapter_holds_is_refused(tiny_config: TrainConfig, tmp_path: Path):
    config = changed(tiny_config, "trained.base={rate: 0.001}")
    finished_run(config, tmp_path)
    with pytest.raises(ValueError, match="trained got the part base, which no adapter holds"):
        export_adapter(config, tmp_path, "test", tmp_path / "adapter.safetensors")
    with pytest.raises(ValueError, match="holds no checkpoint; train first"):
        export_adapter(config, tmp_path / "none", "test", tmp_path / "adapter.safetensors")


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of built-in models."""
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


@pytest.mark.parametrize("kind", ["views", "edits"])
def test_an_exported_model_computes_what_the_trainer_computes(
    tiny_config: TrainConfig,
    editor_config: TrainConfig,
    tmp_path: Path,
    weights_folder: Path,
    kind: str,
):
    """Built-in models are stored in fp16, so the trainer's weights are rounded alike."""
    config = tiny_config if kind == "views" else editor_config
    finished_run(config, tmp_path)
    export_run(config, tmp_path, "tiny", "Tiny")
    loaded, built = load_bundle("tiny"), with_last_weights(config, tmp_path)
    with torch.no_grad():
        for weight in built.model.parameters():
            weight.copy_(weight.half().float())
    base = dataclasses.replace(built.model.base_info, model_name="built-in: tiny")
    example = dataclasses.replace(random_example(base), prompts=("put a hat on it", ""))
    wanted = own_velocity(built, example)
    given = example.target
    if example.source is not None:
        given = torch.cat((given, example.source), dim=1)
        context = loaded.encode_prompt(example.prompts)
    else:
        context = loaded.empty_context(2)
    with torch.no_grad():
        found = memory_forward(
            loaded.backbone, loaded.adapter, given, TIMES, context, example.inputs
        )
    apart = (found - wanted).abs().max().item() / wanted.abs().max().item()
    print(f"\n{kind}: built-in model and trainer are apart by {apart:.1e}")
    assert apart < 1e-5
    assert loaded.base_info().attention == base.attention
    assert loaded.base_info().has_keyframe == base.has_keyframe
    assert bundle.builtin_names() == ("tiny",)


def test_an_exported_run_is_the_averaged_weights(
    tiny_config: TrainConfig, tmp_path: Path, weights_folder: Path
):
    config = changed(tiny_config, "optim.ema=0.9", "trained.base={rate: 0.01}")
    built = finished_run(config, tmp_path)
    export_run(config, tmp_path, "tiny", "Tiny")
    average = best_weights(newest_checkpoint(tmp_path))
    loaded = load_bundle("tiny").backbone.model.state_dict()
    for name in ("proj_out.weight", "patch_embedding.bias"):
        assert torch.equal(loaded[name], average[f"dit.{name}"].half().float())
        assert not torch.equal(average[f"dit.{name}"], built.weights[f"dit.{name}"].detach())


def test_what_is_recorded_of_a_model_comes_from_its_recipe(tiny_config: TrainConfig):
    info = builtin_info(tiny_config, "Tiny")
    assert (info.name, info.size, info.num_frames, info.fov_deg) == ("Tiny", 32, 3, 60.0)
    assert info.dit == DitConfig(64, num_heads=2, num_layers=3, ffn_dim=64, text_dim=8, freq_dim=16)
    assert info.shift == tiny_config.optim.shift


def test_how_far_cameras_went_is_recorded_of_scenes_and_of_nothing_else(
    tiny_config: TrainConfig, editor_config: TrainConfig
):
    turning = Reach(0.0, 0.0, 0.0, 45.0, 18.0, 12.0)
    assert builtin_info(tiny_config, "Tiny").reach == turning
    paths = "scenes={solid_share: 0.5, solid_paths: {dolly: [0.2, 1.5], roll_deg: [4, 30]}}"
    both = Reach(1.2361, 0.5, 1.5, 90.0, 32.0, 30.0)
    assert builtin_info(changed(tiny_config, paths), "Tiny").reach == both
    alone = paths.replace("solid_share: 0.5", "solid_share: 1")
    assert builtin_info(changed(tiny_config, alone), "Tiny").reach == both
    once = alone.replace("dolly", "second_share: 0, dolly")
    narrow = dataclasses.replace(both, pan_deg=45.0, tilt_deg=16.0)
    assert builtin_info(changed(tiny_config, once), "Tiny").reach == narrow
    level = paths.replace("[4, 30]", "[0, 0]"), "scenes.scenes.max_roll_deg=0"
    assert builtin_info(changed(tiny_config, *level), "Tiny").reach.roll_deg == 0
    shipped = changed(tiny_config, "base={kind: builtin, name: novel_view_depth}")
    assert builtin_info(shipped, "Trained on").reach == turning
    assert builtin_info(editor_config, "Editor").reach is None


def test_a_builtin_model_that_was_trained_on_keeps_its_sizes(
    editor_config: TrainConfig,
):
    config = changed(editor_config, "base={kind: builtin, name: text_edit}")
    shipped, info = read_info("text_edit"), builtin_info(config, "Trained on")
    assert (info.dit, info.text, info.num_steps) == (shipped.dit, shipped.text, shipped.num_steps)
    assert (info.name, info.size, info.num_frames) == ("Trained on", 32, 3)
    assert info.shift == 3.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (LORA, "--key got a run with low-rank changes, wanted whole weights"),
        ("base={kind: file, path: wan.safetensors}", "--key got a run of the published base wan.s"),
    ],
)
def test_only_a_whole_small_model_becomes_a_builtin_one(
    tiny_config: TrainConfig, tmp_path: Path, weights_folder: Path, change: str, message: str
):
    with pytest.raises(ValueError, match=message):
        export_run(changed(tiny_config, change), tmp_path, "tiny", "Tiny")
    assert not weights_folder.exists()
