import json
import re
from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.weights.checkpoint import (
    ADAPTER_FORMAT,
    read_adapter,
    read_own_adapter,
    require_fit,
    save_adapter,
    to_diffusers_names,
    to_native_names,
)

# for name in comfy.ldm.wan.model.WanModel(model_type="t2v", num_layers=1, ...).state_dict():
# print(name) of ComfyUI 0.30.0
NATIVE_KEYS_OF_ONE_BLOCK = [
    "patch_embedding.weight",
    "patch_embedding.bias",
    "text_embedding.0.weight",
    "text_embedding.0.bias",
    "text_embedding.2.weight",
    "text_embedding.2.bias",
    "time_embedding.0.weight",
    "time_embedding.0.bias",
    "time_embedding.2.weight",
    "time_embedding.2.bias",
    "time_projection.1.weight",
    "time_projection.1.bias",
    "blocks.0.modulation",
    "blocks.0.self_attn.q.weight",
    "blocks.0.self_attn.q.bias",
    "blocks.0.self_attn.k.weight",
    "blocks.0.self_attn.k.bias",
    "blocks.0.self_attn.v.weight",
    "blocks.0.self_attn.v.bias",
    "blocks.0.self_attn.o.weight",
    "blocks.0.self_attn.o.bias",
    "blocks.0.self_attn.norm_q.weight",
    "blocks.0.self_attn.norm_k.weight",
    "blocks.0.norm3.weight",
    "blocks.0.norm3.bias",
    "blocks.0.cross_attn.q.weight",
    "blocks.0.cross_attn.q.bias",
    "blocks.0.cross_attn.k.weight",
    "blocks.0.cross_attn.k.bias",
    "blocks.0.cross_attn.v.weight",
    "blocks.0.cross_attn.v.bias",
    "blocks.0.cross_attn.o.weight",
    "blocks.0.cross_attn.o.bias",
    "blocks.0.cross_attn.norm_q.weight",
    "blocks.0.cross_attn.norm_k.weight",
    "blocks.0.ffn.0.weight",
    "blocks.0.ffn.0.bias",
    "blocks.0.ffn.2.weight",
    "blocks.0.ffn.2.bias",
    "head.modulation",
    "head.head.weight",
    "head.head.bias",
]


def native_keys(num_blocks: int) -> set[str]:
    return {
        key.replace("blocks.0.", f"blocks.{i}.")
        for key in NATIVE_KEYS_OF_ONE_BLOCK
        for i in range(num_blocks)
    }


def test_native_names_are_those_of_comfyuis_wan_model(dit: WanTransformer3DModel):
    assert set(to_native_names(dit.state_dict())) == native_keys(3)


def test_names_survive_the_way_there_and_back(dit: WanTransformer3DModel):
    state = dit.state_dict()
    back = to_diffusers_names(to_native_names(state))
    assert set(back) == set(state)
    assert all(back[name] is tensor for name, tensor in state.items())


def test_norm3_of_wan_is_norm2_of_diffusers():
    marker = torch.zeros(1)
    assert to_native_names({"blocks.7.norm2.weight": marker}) == {"blocks.7.norm3.weight": marker}


def test_block_numbers_of_two_digits_are_kept():
    assert list(to_native_names({"blocks.29.attn1.to_out.0.bias": None})) == [
        "blocks.29.self_attn.o.bias"
    ]
    assert list(to_diffusers_names({"blocks.29.self_attn.o.bias": None})) == [
        "blocks.29.attn1.to_out.0.bias"
    ]


def test_a_foreign_key_is_named():
    with pytest.raises(
        ValueError, match="'double_blocks.0.img_attn.weight', wanted diffusers' names"
    ):
        to_native_names({"double_blocks.0.img_attn.weight": None})
    with pytest.raises(ValueError, match="'blocks.0.self_attn.k_img.weight', wanted native names"):
        to_diffusers_names({"blocks.0.self_attn.k_img.weight": None})


@pytest.mark.parametrize("has_rays", [False, True])
def test_an_adapter_survives_its_file(make_adapter, tmp_path: Path, has_rays: bool):
    adapter = make_adapter(has_rays=has_rays, clean_timestep="zero")
    save_adapter(adapter, tmp_path / "a.safetensors")
    config, state = read_adapter(tmp_path / "a.safetensors")
    assert config == adapter.config
    again = MemoryAdapter(config)
    again.load_state_dict(state)
    assert all(
        torch.equal(value, adapter.state_dict()[name]) for name, value in again.state_dict().items()
    )


def test_an_adapter_may_be_stored_at_half_precision(adapter: MemoryAdapter, tmp_path: Path):
    save_adapter(adapter, tmp_path / "a.safetensors", torch.float16)
    _, state = read_adapter(tmp_path / "a.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    assert next(adapter.parameters()).dtype == torch.float32


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path):
    with pytest.raises(
        ValueError, match=f"^gone.safetensors in {re.escape(str(tmp_path))} could not be read"
    ):
        read_adapter(tmp_path / "gone.safetensors")


def test_a_file_that_is_not_safetensors_is_named(tmp_path: Path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"not weights at all")
    with pytest.raises(
        ValueError, match="^broken.safetensors in .* could not be read .*download or convert"
    ):
        read_adapter(path)


def test_other_weights_are_told_by_what_they_hold(tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora.down.weight": torch.zeros(2)}, str(path))
    with pytest.raises(
        ValueError, match="lora.safetensors in .* got a LoRA, wanted format memory-v2v-adapter-1"
    ):
        read_adapter(path)
    save_file({"x": torch.zeros(2)}, str(path), metadata={"format": "pt", "config": json.dumps({})})
    with pytest.raises(
        ValueError, match="got 1 tensors, the first named 'x', wanted format memory-v2v-adapter-1"
    ):
        read_adapter(path)
    save_file({"x": torch.zeros(2)}, str(path), metadata={"format": "memory-v2v-adapter-2"})
    with pytest.raises(
        ValueError, match="got memory-v2v-adapter-2, wanted format memory-v2v-adapter-1"
    ):
        read_adapter(path)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1536, 3, 16), "dim got 96, wanted 1536"),
        ((96, 30, 16), "num_blocks got 3, wanted 30"),
        ((96, 3, 48), "in_channels got 16, wanted 48"),
    ],
)
def test_an_adapter_of_another_base_is_refused(sizes: tuple[int, int, int], message: str):
    config = AdapterConfig(96, 3, 16)
    require_fit(config, 96, 3, 16)
    with pytest.raises(ValueError, match=message):
        require_fit(config, *sizes)


def test_adapter_of_a_newer_version_is_named(tmp_path: Path) -> None:
    config = json.dumps({"dim": 64, "num_blocks": 2, "in_channels": 16, "has_wings": True})
    path = tmp_path / "newer.safetensors"
    save_file(
        {"x": torch.zeros(1)}, str(path), metadata={"format": ADAPTER_FORMAT, "config": config}
    )
    with pytest.raises(ValueError, match=r"newer.safetensors.*'has_wings'.*update the pack"):
        read_adapter(path)


def camera_weights(dim: int, num_blocks: int) -> dict[str, torch.Tensor]:
    """ReCamMaster's, random."""
    weights = {}
    for i in range(num_blocks):
        for name, inputs in (("cam_encoder", 12), ("projector", dim)):
            weights[f"blocks.{i}.{name}.weight"] = torch.randn(dim, inputs)
            weights[f"blocks.{i}.{name}.bias"] = torch.randn(dim)
    return weights


def test_cameras_of_a_recammaster_checkpoint_make_an_adapter(
    dit: WanTransformer3DModel, tmp_path: Path
) -> None:
    cameras = camera_weights(96, 3)
    torch.save(to_native_names(dit.state_dict()) | cameras, tmp_path / "step20000.ckpt")
    config, state = read_own_adapter(tmp_path / "step20000.ckpt")
    assert config == AdapterConfig(
        96, 3, 16, has_tokenizers=False, has_merging=False, camera_conditioning="target"
    )
    assert config.clean_timestep == "target"
    adapter = MemoryAdapter(config)
    adapter.load_state_dict(state)  # strict: nothing is missing, nothing left over
    assert torch.equal(adapter.blocks[2].projector.weight, cameras["blocks.2.projector.weight"])


def test_cameras_without_a_dit_make_the_same_adapter(tmp_path: Path) -> None:
    save_file(camera_weights(96, 3), str(tmp_path / "cameras.safetensors"))
    config, state = read_own_adapter(tmp_path / "cameras.safetensors")
    assert (config.dim, config.num_blocks, config.in_channels, len(state)) == (96, 3, 16, 12)


@pytest.mark.parametrize(
    ("name", "weight", "found"),
    [
        ("blocks.1.projector.bias", None, "is missing"),
        ("blocks.1.cam_encoder.weight", torch.zeros(96, 16), r"has the size \(96, 16\)"),
    ],
)
def test_a_camera_weight_that_does_not_fit_is_named(
    tmp_path: Path, name: str, weight: torch.Tensor | None, found: str
) -> None:
    weights = camera_weights(96, 3) | {name: weight}
    save_file(
        {key: value for key, value in weights.items() if value is not None},
        str(tmp_path / "c.safetensors"),
    )
    with pytest.raises(ValueError, match=f"{name} {found}, wanted .*; download step20000.ckpt"):
        read_own_adapter(tmp_path / "c.safetensors")


def test_a_base_without_cameras_is_no_adapter(dit: WanTransformer3DModel, tmp_path: Path) -> None:
    save_file(to_native_names(dit.state_dict()), str(tmp_path / "wan.safetensors"))
    with pytest.raises(
        ValueError, match="wan.safetensors in .* is Wan2.1 T2V .*; choose it as the model"
    ):
        read_own_adapter(tmp_path / "wan.safetensors")
