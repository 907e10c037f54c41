"""Published bases in their true layouts, with small random weights, through the trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.prepared_folders import TEXT_WIDTH, FolderMaker
from instruments.tiny_wan import pilot_weights
from instruments.training_runs import finished_run
from safetensors.torch import save_file

from memv2v_core.shapes import VaeRatios
from memv2v_core.strict_yaml import build as build_config
from memv2v_core.training.config.run import TrainConfig
from memv2v_core.training.cost.planned_model import planned_model
from memv2v_core.training.export import export_adapter
from memv2v_core.training.launch import build
from memv2v_core.training.network.fp8 import Fp8Linear
from memv2v_core.weights.adapter_file import read_adapter_file
from memv2v_core.weights.checkpoint import to_diffusers_names
from memv2v_core.weights.wan_shapes import WanSizes, shapes_hash, wan_shapes

pytestmark = pytest.mark.slow

DIM, NUM_BLOCKS, TINY_FFN = 128, 3, 64
CHANNELS = {
    "recammaster": (16, 16),
    "wan2.1": (16, 16),
    "wan2.2-5b": (48, 48),
    "lucyedit": (96, 48),
}
Weights = dict[str, torch.Tensor]


def sizes_of(kind: str) -> WanSizes:
    in_channels, out_channels = CHANNELS[kind]
    return WanSizes(DIM, NUM_BLOCKS, in_channels, 4 * out_channels, TINY_FFN, TEXT_WIDTH, 16)


def weights_of(kind: str) -> Weights:
    """Random weights under native names; ReCamMaster has its cameras too."""
    generator = torch.Generator().manual_seed(1)
    shapes = wan_shapes(sizes_of(kind))
    if kind == "recammaster":
        for i in range(NUM_BLOCKS):
            shapes |= {
                f"blocks.{i}.cam_encoder.weight": (DIM, 12),
                f"blocks.{i}.cam_encoder.bias": (DIM,),
                f"blocks.{i}.projector.weight": (DIM, DIM),
                f"blocks.{i}.projector.bias": (DIM,),
            }
    return {
        name: torch.randn(shape, generator=generator) / max(1, shape[-1]) ** 0.5
        for name, shape in shapes.items()
    }


def saved(kind: str, folder: Path) -> Path:
    """The base as its authors publish it."""
    weights = weights_of(kind)
    if kind == "recammaster":
        path = folder / "step20000.ckpt"
        torch.save(weights, path)
        return path
    if kind == "wan2.1":
        path = folder / "wan2.1_t2v_1.3B.safetensors"
        save_file(weights, path)
        return path
    # diffusers' layout: a folder with the DiT in `transformer`.
    place = folder / kind / "transformer"
    place.mkdir(parents=True)
    save_file(to_diffusers_names(weights), place / "diffusion_pytorch_model.safetensors")
    return folder / kind


def recipe(kind: str, folder: Path, **changes: Any) -> TrainConfig:
    """A recipe of few steps on this base and a hand-made prepared folder."""
    is_editor = kind == "lucyedit"
    out_channels = CHANNELS[kind][1]
    ratios = VaeRatios(4, 8 if out_channels == 16 else 16, out_channels)
    maker = FolderMaker(folder / "data", "text_edit" if is_editor else "novel_view", ratios)
    if is_editor:
        maker.add_edit("edit", num_segments=3)
    else:
        maker.add_scene("scene", num_views=3)
    maker.folder()
    parts = (
        "self_attention",
        "tokenizers",
        "mergers",
        *(() if is_editor else ("cameras", "projector")),
    )
    values: dict[str, Any] = {
        "task": "text_edit" if is_editor else "novel_view",
        "base": {"kind": "file", "path": str(saved(kind, folder))},
        "prepared": {"folder": str(folder / "data")},
        "trained": {part: {"rate": 0.001} for part in parts},
        "optim": {"batch_size": 2, "rows_at_once": 1, "steps": 3, "has_checkpointing": True},
        "keep": {"log_steps": 1, "checkpoint_minutes": None},
    }
    for key, value in changes.items():
        group, _, name = key.partition("__")
        values[group] = {**values[group], name: value}
    return build_config(TrainConfig, values, "test")


def test_a_base_with_playback_times_is_refused_before_its_weights_are_read(tmp_path: Path):
    path = tmp_path / "SpacetimePilot_1.3B_v1.ckpt"
    torch.save(pilot_weights(), path)
    config = recipe("recammaster", tmp_path, base__path=str(path))
    for use in (lambda: build(config, tmp_path / "run"), lambda: planned_model(config)):
        with pytest.raises(
            ValueError, match="spacetimepilot, which reads a playback time of every"
        ):
            use()


@pytest.mark.parametrize("kind", CHANNELS)
def test_a_published_base_is_read_as_it_is(kind: str, tmp_path: Path):
    config = recipe(kind, tmp_path)
    built = build(config, tmp_path / "run")
    native = weights_of(kind)
    wanted = to_diffusers_names({name: native[name] for name in wan_shapes(sizes_of(kind))})
    found = dict(built.model.named_parameters())
    for name, tensor in wanted.items():
        words = name.split(".")
        place = (
            f"blocks.{words[1]}.base.{'.'.join(words[2:])}"
            if words[0] == "blocks"
            else f"dit.{name}"
        )
        assert torch.equal(found[place], tensor), name
    for i in range(NUM_BLOCKS if kind == "recammaster" else 0):
        for part in (
            "cam_encoder.weight",
            "cam_encoder.bias",
            "projector.weight",
            "projector.bias",
        ):
            assert torch.equal(found[f"blocks.{i}.cameras.{part}"], native[f"blocks.{i}.{part}"])


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("variant", ["full", "lora in fp8, waiting blocks, bf16"])
def test_a_published_base_trains_and_gives_an_adapter_for_itself(
    kind: str, variant: str, tmp_path: Path
):
    changes: dict[str, Any] = {}
    if variant != "full":
        changes = {
            "trained__self_attention": {"rate": 0.001, "lora_rank": 2, "lora_alpha": 4},
            "base__has_fp8": True,
            "optim__resident_blocks": 1,
            "optim__precision": "bf16",
        }
    config, folder = recipe(kind, tmp_path, **changes), tmp_path / "run"
    built = finished_run(config, folder)
    is_small = [isinstance(m, Fp8Linear) for m in built.model.blocks[0].modules()]
    assert any(is_small) == (variant != "full")
    file = read_adapter_file(export_adapter(config, folder, "test", tmp_path / "a.safetensors"))
    assert file.record is not None
    assert file.record.base_shapes == shapes_hash(wan_shapes(sizes_of(kind)))
    assert file.record.steps == 3
    ending = "diff" if variant == "full" else "lora_B.weight"
    change = file.base_changes[f"blocks.0.self_attn.q.{ending}"]
    assert change.abs().max() > 0
    assert file.config.attention == "one_way"
    assert file.config.has_cameras == (kind != "lucyedit")


def test_a_base_for_the_other_task_is_refused(tmp_path: Path):
    config = recipe("wan2.2-5b", tmp_path)
    wrong = build_config(
        TrainConfig,
        {
            "task": "text_edit",
            "base": {"kind": "file", "path": str(config.base.path)},
            "prepared": {"folder": str(tmp_path / "data")},
            "trained": {"mergers": {}},
            "optim": {"steps": 1},
        },
        "test",
    )
    with pytest.raises(ValueError, match="wan2.2-5b, .*use LucyEdit for text_edit"):
        build(wrong, tmp_path / "run")


def test_a_base_that_is_not_there_is_named_with_its_sources(tmp_path: Path):
    config = recipe("wan2.1", tmp_path)
    assert config.base.path is not None
    config.base.path.unlink()
    with pytest.raises(
        ValueError, match="wan2.1_t2v_1.3B.safetensors, which is not there; download"
    ):
        build(config, tmp_path / "run")


def test_the_papers_long_edit_recipe_trains_on_extended_frames_without_sources(tmp_path: Path):
    maker = FolderMaker(tmp_path / "long", "text_edit", VaeRatios(4, 16, 48))
    maker.add_edit("edit", num_segments=1, num_extended=3)
    maker.folder()
    plain = recipe("lucyedit", tmp_path)
    config = build_config(
        TrainConfig,
        {
            "task": "text_edit",
            "base": {"kind": "file", "path": str(plain.base.path)},
            "adapter": {"memory_order": "reversed", "memories_carry_source": False},
            "prepared": {"folder": str(tmp_path / "long"), "memory": {"counts": [0, 1, 1]}},
            "trained": {part: {} for part in ("self_attention", "tokenizers", "mergers")},
            "optim": {"batch_size": 2, "rows_at_once": 2, "steps": 2},
        },
        "test",
    )
    folder = tmp_path / "run"
    finished_run(config, folder)
    file = read_adapter_file(export_adapter(config, folder, "test", tmp_path / "a.safetensors"))
    assert (file.config.memory_order, file.config.memories_carry_source) == ("reversed", False)
    # Tokenizers of memories take the edited latent alone.
    assert {name: file.state[f"tokenizers.{name}.weight"].shape[1] for name in "248"} == {
        "2": 48,
        "4": 48,
        "8": 48,
    }
