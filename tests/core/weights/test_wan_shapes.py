"""Shapes of a Wan DiT, beside the model's own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from instruments.broken_weights import SIZES, base_weights, fault_of
from safetensors.torch import save_file

from memv2v_core.weights.checkpoint import (
    dit_weights,
    require_base_finite,
    require_whole,
    to_diffusers_names,
    to_native_names,
)
from memv2v_core.weights.detection import detect
from memv2v_core.weights.wan_shapes import WanSizes, measured_sizes, wan_shapes
from memv2v_core.weights.weight_files import read_header, read_weights

NAME = "wan.safetensors"
Weights = dict[str, torch.Tensor]


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def fault(path: Path, weights: Weights, metadata: dict[str, str] | None = None) -> str:
    """What the reader says of a base with these weights."""
    save_file(weights, str(path), metadata=metadata)
    header = read_header(path)
    file = detect(header.shapes, header.metadata)
    if file.kind == "unsupported":
        return f"{path.name} is {file.what}"
    return fault_of(lambda: require_whole(path, header, file), path.name)


def test_shapes_are_those_of_wans_own_model() -> None:
    with torch.device("meta"):
        model = WanTransformer3DModel(
            num_attention_heads=40,
            attention_head_dim=128,
            in_channels=16,
            out_channels=16,
            ffn_dim=13824,
            num_layers=3,
        )
    wanted = shapes_of(to_native_names(model.state_dict()))
    sizes = WanSizes(5120, 3, 16, 64, 13824, 4096, 256)
    assert wan_shapes(sizes) == wanted
    assert measured_sizes(wanted, 3) == sizes


@pytest.mark.parametrize("names", [dict, to_diffusers_names])
def test_a_whole_base_is_whole_in_both_layouts(tmp_path: Path, names: Callable) -> None:
    assert fault(tmp_path / NAME, names(base_weights())) == ""


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blocks.1.ffn.2.weight", (32, 65)),
        ("blocks.0.cross_attn.norm_k.weight", (33,)),
        ("patch_embedding.bias", ()),
        ("time_projection.1.weight", (32, 32)),
    ],
)
def test_a_weight_of_another_size_is_named(tmp_path: Path, name: str, shape: tuple) -> None:
    weights = base_weights() | {name: torch.zeros(shape)}
    message = fault(tmp_path / NAME, weights)
    assert f"has a tensor {name!r} of size {shape}, which must be" in message


@pytest.mark.parametrize(
    "name", ["head.head.weight", "blocks.0.ffn.0.weight", "text_embedding.0.weight"]
)
def test_a_weight_without_axes_is_named(tmp_path: Path, name: str) -> None:
    message = fault(tmp_path / NAME, base_weights() | {name: torch.zeros(())})
    assert repr(name) in message or "whose tensors have no sizes" in message


@pytest.mark.parametrize("shape", [(), (32,), (32, 16), (0, 16, 1, 2, 2), (32, 16, 0, 2, 2)])
def test_a_patch_embedding_without_sizes_is_no_wan(shape: tuple[int, ...]) -> None:
    shapes = shapes_of(base_weights()) | {"patch_embedding.weight": shape}
    file = detect(shapes)
    assert (file.kind, file.what) == ("unsupported", "a Wan DiT whose tensors have no sizes")


def test_a_block_beyond_the_others_is_named(tmp_path: Path) -> None:
    # ComfyUI would make a whole block of it.
    weights = base_weights() | {"blocks.2.x": torch.zeros(1)}
    assert "'blocks.2.x', and no block of this number" in fault(tmp_path / NAME, weights)


def test_packed_layers_may_have_other_shapes(tmp_path: Path) -> None:
    weights = base_weights()
    weights["blocks.0.ffn.0.weight"] = torch.zeros(64, 16, dtype=torch.uint8)
    assert "which must be (64, 32)" in fault(tmp_path / NAME, weights)
    weights["blocks.0.ffn.0.comfy_quant"] = torch.zeros(30, dtype=torch.uint8)
    assert fault(tmp_path / NAME, weights) == ""


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_heads": 1, "text_dim": 24, "freq_dim": 16, "text_len": 16}, ""),
        ({"num_layers": 10**6}, "1000000 for num_layers, and tensors for 2"),
        ({"dim": 10**9}, "1000000000 for dim, and tensors for 32"),
        ({"num_heads": 0}, "0 for the setting 'num_heads'"),
        ({"num_heads": 3}, "3 heads, which do not divide its width of 32"),
        ({"num_heads": True}, "True for the setting 'num_heads'"),
        ({"text_len": 10**9}, "1000000000 for the setting 'text_len'"),
        ({"model_type": "vace"}, "the setting 'model_type'"),
        ([], "a transformer that is []"),
    ],
)
def test_a_configuration_must_fit_the_tensors(tmp_path: Path, config: object, words: str) -> None:
    metadata = {"config": json.dumps({"transformer": config})}
    message = fault(tmp_path / NAME, base_weights(), metadata)
    assert words in message
    assert bool(words) == bool(message)


@pytest.mark.parametrize("name", ["config", "_quantization_metadata"])
@pytest.mark.parametrize("text", ["{", "[]", "[" * 9000, '{"a": NaN}'])
def test_metadata_that_comfyui_reads_are_json(tmp_path: Path, name: str, text: str) -> None:
    assert fault(tmp_path / NAME, base_weights(), {name: text})


def test_tensors_that_belong_to_no_layer_are_left_out(tmp_path: Path) -> None:
    extra = {
        "joint_blocks.0.x": torch.zeros(1),
        "adaln_single.emb.weight": torch.zeros(1),
        "vae.decoder.conv1.weight": torch.zeros(1),
        "blocks.0.ffn.0.scale_weight": torch.ones(1),
        "scaled_fp8": torch.zeros(2),
    }
    save_file(base_weights() | extra, str(tmp_path / NAME))
    file = detect(read_header(tmp_path / NAME).shapes)
    found = dit_weights(tmp_path / NAME, read_weights(tmp_path / NAME), file)
    assert set(found) - set(wan_shapes(SIZES)) == {"blocks.0.ffn.0.scale_weight", "scaled_fp8"}


def test_a_base_with_nan_is_named(tmp_path: Path) -> None:
    weights = base_weights()
    require_base_finite(tmp_path / NAME, weights)
    weights["blocks.1.self_attn.q.weight"][3, 4] = torch.nan
    message = fault_of(lambda: require_base_finite(tmp_path / NAME, weights), NAME)
    assert "has 1 of 1024 values in 'blocks.1.self_attn.q.weight' that are NaN" in message
