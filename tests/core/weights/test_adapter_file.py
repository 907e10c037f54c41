"""Adapter files of both formats."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from instruments.adapter_files import random_adapter_file, record_of
from instruments.broken_weights import (
    SIZES,
    base_weights,
    fault_of,
    save_small_adapter,
    with_config,
    with_header,
)
from safetensors.torch import load_file, save_file

from memv2v_core.model.adapter import AdapterConfig
from memv2v_core.weights.adapter_file import (
    AdapterFile,
    TrainingRecord,
    read_adapter_file,
    save_adapter_file,
)
from memv2v_core.weights.checkpoint import read_adapter
from memv2v_core.weights.detection import ADAPTER_FORMAT_2, detect
from memv2v_core.weights.weight_files import read_header

CONFIG = AdapterConfig(
    32,
    2,
    16,
    attention="one_way",
    clean_reads_text=False,
    clean_timestep="zero",
    has_base_tokenizer=True,
    num_latent_frames=21,
)
NAME = "mine.safetensors"


def adapter_file(kind: str = "lora", config: AdapterConfig = CONFIG) -> AdapterFile:
    return random_adapter_file(config, SIZES, kind, base_weights())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_adapter_file(tmp_path / NAME, adapter_file())
    assert read_adapter_file(tmp_path / NAME).config == CONFIG
    return tmp_path / NAME


def refused(path: Path) -> str:
    message = fault_of(lambda: read_adapter_file(path), NAME)
    assert message
    return message


def rewritten(path: Path, **changes: torch.Tensor | None) -> Path:
    """The file with these tensors; None removes one."""
    metadata = read_header(path).metadata
    weights = {name: tensor.clone() for name, tensor in load_file(str(path)).items()} | changes
    save_file({n: t for n, t in weights.items() if t is not None}, str(path), metadata=metadata)
    return path


def with_record(path: Path, **changes: Any) -> None:
    """Change fields of the record; None removes one."""

    def change(header: dict[str, Any]) -> None:
        record = json.loads(header["__metadata__"]["record"]) | changes
        kept = {name: value for name, value in record.items() if value is not None}
        header["__metadata__"]["record"] = json.dumps(kept)

    with_header(path, change)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_content_survives_its_file(tmp_path: Path, kind: str):
    written = adapter_file(kind)
    save_adapter_file(tmp_path / NAME, written)
    again = read_adapter_file(tmp_path / NAME)
    assert again.config == written.config
    assert again.record == written.record
    for got, wanted in (
        (again.state, written.state),
        (again.base_changes, written.base_changes),
    ):
        assert set(got) == set(wanted)
        assert all(torch.equal(got[name], tensor) for name, tensor in wanted.items())
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_it_may_be_stored_at_half_precision_and_without_changes_of_the_base(tmp_path: Path):
    save_adapter_file(tmp_path / NAME, replace(adapter_file(), base_changes={}), torch.bfloat16)
    again = read_adapter_file(tmp_path / NAME)
    assert again.base_changes == {}
    assert {tensor.dtype for tensor in again.state.values()} == {torch.bfloat16}


def test_memories_without_their_source_halve_the_channels_of_the_tokenizers(tmp_path: Path):
    sizes = replace(SIZES, in_channels=96, out_values=192)
    config = replace(CONFIG, in_channels=96, memories_carry_source=False)
    weights = base_weights() | {"patch_embedding.weight": torch.randn(32, 96, 1, 2, 2)}
    save_adapter_file(tmp_path / NAME, random_adapter_file(config, sizes, "lora", weights))
    again = read_adapter_file(tmp_path / NAME)
    assert again.state["tokenizers.2.weight"].shape == (32, 48, 1, 2, 2)
    assert not again.config.memories_carry_source


def test_files_of_format_1_are_read_as_before(tmp_path: Path):
    save_small_adapter(tmp_path / NAME)
    config, state = read_adapter(tmp_path / NAME)
    file = read_adapter_file(tmp_path / NAME)
    assert file.config == config == AdapterConfig(32, 2, 16)
    assert all(torch.equal(file.state[name], tensor) for name, tensor in state.items())
    assert (file.base_changes, file.record) == ({}, None)


def test_a_file_of_format_1_names_later_settings_only_where_they_matter(tmp_path: Path):
    save_small_adapter(tmp_path / NAME)
    stated = json.loads(read_header(tmp_path / NAME).metadata["config"])
    assert "has_keyframe" in stated
    # What versions before one-way attention know.
    assert not {"attention", "clean_reads_text", "memories_carry_source"} & set(stated)


def test_format_1_readers_refuse_format_2_by_its_name(path: Path):
    assert detect(read_header(path).shapes, read_header(path).metadata).kind == "adapter"
    with pytest.raises(ValueError, match=f"got {ADAPTER_FORMAT_2}, wanted format"):
        read_adapter(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"format": "memory-v2v-adapter-3"}, "got memory-v2v-adapter-3, wanted .*; update this"),
        ({"format": "pt"}, "got camera weights without a DiT, wanted format memory-v2v-adapter-1"),
    ],
)
def test_other_formats_are_named(path: Path, metadata: dict[str, str], words: str):
    with_header(path, lambda header: header["__metadata__"].update(metadata))
    with pytest.raises(ValueError, match=words):
        read_adapter_file(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "0 for the setting 'steps'"),
        ({"steps": "many"}, "'many' for the setting 'steps'"),
        ({"data": None}, "lacks the setting 'data'"),
        ({"data": "x" * 5000}, "for the setting 'data', which must be a short text"),
        ({"wings": 1}, "the setting 'wings', which is unknown here"),
        ({"base_shapes": "0" * 64}, "wanted the hash of a DiT of its base_sizes"),
        ({"base_sizes": {"dim": 10**9}}, "lacks the setting 'num_blocks'"),
        ({"base_sizes": 7}, "settings that are no JSON object but 7"),
    ],
)
def test_a_record_that_does_not_fit_is_named(path: Path, changes: dict[str, Any], words: str):
    with_record(path, **changes)
    with pytest.raises(ValueError, match=words):
        read_adapter_file(path)
    refused(path)


def test_a_file_without_a_record_is_refused(path: Path):
    with_header(path, lambda header: header["__metadata__"].pop("record"))
    assert "a record that is no JSON" in refused(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 64}, "64 for the setting 'dim', and 32 in its base's sizes"),
        ({"in_channels": 48}, "48 for the setting 'in_channels', and 16 in its base's sizes"),
        ({"attention": "sideways"}, "'sideways' for the setting 'attention'"),
        ({"attention": "two_way"}, "clean_reads_text got False with attention 'two_way'"),
        ({"memories_carry_source": False}, "of size (32, 16, 1, 2, 2), which must be (32, 8, "),
        ({"has_base_tokenizer": False}, "'tokenizers.2.bias', which has no place in it"),
        ({"num_latent_frames": 0}, "0 for the setting 'num_latent_frames'"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(path: Path, changes: dict[str, Any], words: str):
    with_config(path, **changes)
    assert words in refused(path)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("tokenizers.2.bias", None, "has no tensor 'tokenizers.2.bias'"),
        ("other.weight", torch.zeros(2), "'other.weight', which has no place in it"),
        ("base.blocks.0.cross_attn.k_img.diff", torch.zeros(2), "changes no layer of its base"),
        ("base.blocks.0.self_attn.q.diff_b", torch.zeros(31), "which must be (32,)"),
        ("base.blocks.0.self_attn.q.lora_A.weight", None, "and no lora_A"),
        ("base.blocks.0.ffn.0.diff_b", torch.zeros(64, dtype=torch.int64), "of type int64"),
        ("base.blocks.0.ffn.0.diff_b", torch.full((64,), torch.nan), "64 of 64 values in 'base."),
        ("base.", torch.zeros(1), "a change '', which changes no layer"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    path: Path, name: str, tensor: torch.Tensor | None, words: str
):
    rewritten(path, **{name: tensor})
    assert words in refused(path)


def test_content_that_nothing_could_read_is_not_written(tmp_path: Path):
    good = adapter_file()
    for bad, words in (
        (replace(good, record=None), "a record that is no JSON"),
        (replace(good, state={}), "has no tensor"),
        (replace(good, base_changes={"x.diff": torch.zeros(1)}), "changes no layer"),
        (replace(good, record=record_of(replace(SIZES, dim=64))), "and 64 in its base's sizes"),
    ):
        with pytest.raises(ValueError, match=words):
            save_adapter_file(tmp_path / NAME, bad)
    assert list(tmp_path.iterdir()) == []


def test_a_record_holds_the_hash_of_its_sizes():
    record = record_of(SIZES)
    assert len(record.base_shapes) == 64
    with pytest.raises(ValueError, match="wanted the hash of a DiT of its base_sizes"):
        TrainingRecord("Wan", "abc", SIZES, "r", "d", 1, "t")
