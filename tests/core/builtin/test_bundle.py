import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from memv2v_core.builtin import bundle
from memv2v_core.builtin.bundle import build_dit, load_bundle, read_info, save_bundle
from memv2v_core.builtin.codec import Codec
from memv2v_core.builtin.info import BuiltinInfo, DitConfig
from memv2v_core.cameras.extent import Reach
from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.training.config.data import ScenesConfig

INFO = BuiltinInfo(
    name="tiny",
    size=32,
    num_frames=5,
    fov_deg=60.0,
    shift=3.0,
    num_steps=4,
    dit=DitConfig(64, num_heads=2, num_layers=2, ffn_dim=96, text_dim=8, freq_dim=16),
    reach=Reach(sideways=1.25, vertical=0.0, forward=0.9),
)
PARTS = ("dit", "adapter", "vae", "text")
MAX_BYTES = 30e6


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.nn.Module]:
    """Modules saved as the built-in model `tiny` in a folder of their own."""
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {
            "dit": build_dit(INFO.dit),
            "adapter": MemoryAdapter(
                AdapterConfig(64, 2, 16, has_rays=True, clean_timestep="zero")
            ),
            "codec": Codec(),
        }
    save_bundle(INFO, "tiny", **modules)
    return modules


def test_a_saved_bundle_loads_as_it_was_up_to_half_precision(saved: dict[str, torch.nn.Module]):
    loaded = load_bundle("tiny")
    assert loaded.info == INFO == read_info("tiny")
    assert loaded.adapter.config == saved["adapter"].config
    for name, module in (
        ("dit", loaded.backbone.model),
        ("adapter", loaded.adapter),
        ("codec", loaded.codec),
    ):
        before, after = saved[name].state_dict(), module.state_dict()
        assert list(before) == list(after)
        for key, value in after.items():
            assert value.dtype == torch.float32
            assert torch.equal(value, before[key].half().float()), f"{name} {key}"


def test_a_loaded_bundle_neither_trains_nor_drops_out(saved: dict[str, torch.nn.Module]):
    loaded = load_bundle("tiny")
    for module in (loaded.backbone.model, loaded.adapter, loaded.codec):
        assert not module.training
        assert not any(p.requires_grad for p in module.parameters())


def test_the_dits_file_has_native_names_half_precision_and_the_sizes_that_cannot_be_seen_in_it(
    saved: dict[str, torch.nn.Module],
):
    with safe_open(str(bundle.dit_path("tiny")), framework="pt") as file:
        names = set(file.keys())
        assert {file.get_tensor(name).dtype for name in names} == {torch.float16}
        config = json.loads(file.metadata()["config"])["transformer"]
    assert {"blocks.1.self_attn.norm_q.weight", "head.modulation", "text_embedding.2.bias"} <= names
    assert config == {"num_heads": 2, "text_dim": 8, "freq_dim": 16}


def test_saved_models_are_listed_and_the_empty_prompt_fits_them(saved: dict[str, torch.nn.Module]):
    assert bundle.builtin_names() == ("tiny",)
    assert load_bundle("tiny").empty_context(3).shape == (3, 1, 8)


def test_info_on_disk_is_plain_json(saved: dict[str, torch.nn.Module]):
    assert json.loads(
        (bundle.WEIGHTS / "tiny.json").read_text(encoding="utf-8")
    ) == dataclasses.asdict(INFO)


def test_every_shipped_model_is_whole_and_small():
    assert bundle.builtin_names() == (
        "novel_view",
        "novel_view_depth",
        "reference_edit",
        "text_edit",
    )
    assert bundle.builtin_names("text_edit") == ("reference_edit", "text_edit")
    for name in bundle.builtin_names():
        # Names begin alike: novel_view is no part of novel_view_depth.
        parts = [bundle.WEIGHTS / f"{name}_{part}.safetensors" for part in PARTS]
        sizes = [path.stat().st_size for path in parts if path.is_file()]
        assert len(sizes) >= 3
        assert sum(sizes) <= MAX_BYTES
        loaded = load_bundle(name)
        assert loaded.info.size // 8 >= 12  # all three tokenizers and the merging are real
        for module in (loaded.backbone.model, loaded.adapter, loaded.codec):
            assert all(torch.isfinite(p).all() for p in module.parameters())


def test_a_description_of_before_says_nothing_of_how_far_cameras_go(
    saved: dict[str, torch.nn.Module],
):
    file = bundle.info_path("tiny")
    described = json.loads(file.read_text(encoding="utf-8"))
    moves = {"sideways": 1.25, "vertical": 0.0, "forward": 0.9}
    turns = dict.fromkeys(("pan_deg", "tilt_deg", "roll_deg"))
    assert described["reach"] == moves | turns
    # Of before there were turns.
    file.write_text(json.dumps(described | {"reach": moves}), encoding="utf-8")
    assert read_info("tiny").reach == INFO.reach
    described.pop("reach")
    assert load_bundle("tiny").base_info().reach == INFO.reach
    file.write_text(json.dumps(described), encoding="utf-8")
    assert read_info("tiny").reach is None
    assert load_bundle("tiny").base_info().reach is None


@pytest.mark.parametrize("wrong", [-0.1, "far", None])
def test_a_length_of_moves_that_is_none_is_refused(
    saved: dict[str, torch.nn.Module], wrong: object
):
    file = bundle.info_path("tiny")
    described = json.loads(file.read_text(encoding="utf-8"))
    described["reach"]["vertical"] = wrong
    file.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ValueError, match="'vertical', which must be a number from 0"):
        read_info("tiny")


def test_shipped_view_models_know_how_far_their_cameras_go():
    """By the ranges that their paths were drawn from."""
    assert read_info("novel_view").reach == ScenesConfig().reach == Reach(0, 0, 0, 45, 18, 12)
    # The recipe's share of scenes with depth; the others turn.
    assert read_info("novel_view_depth").reach == ScenesConfig(solid_share=0.65).reach
    assert {read_info(name).reach for name in ("text_edit", "reference_edit")} == {None}
