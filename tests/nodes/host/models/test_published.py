"""Published bases, small and random in the real key layout, through the loaders."""

import re
from pathlib import Path

import pytest
import torch
from instruments.published import (
    FIRST_SHARD,
    adapter_of,
    diffusers_wan,
    info_of,
    path_of,
    same,
    save_shards,
    save_trained_adapter,
    weights_in,
)
from safetensors.torch import save_file

from memv2v_core.builtin.bundle import builtin_names
from memv2v_core.weights.checkpoint import to_native_names
from memv2v_core.weights.convert import convert

Weights = dict[str, torch.Tensor]
DIM, NUM_BLOCKS = 128, 2
SIZES = f"{NUM_BLOCKS} blocks of {DIM}"
NUM_FRAMES = 5


def test_built_in_models_come_first_then_files_that_may_be_bases(
    loader, bases: Path, adapters: Path
) -> None:
    save_shards(bases / "Lucy" / "transformer", {"x": torch.zeros(1), "y": torch.zeros(1)})
    for name in ("wan.safetensors", "notes.txt", "wan.bin", "old.pth"):
        (bases / name).touch()
    (adapters / "step20000.ckpt").touch()
    (adapters / "readme.md").touch()
    model_name, adapter = loader.define_schema().inputs
    shard = str(Path("Lucy", "transformer", FIRST_SHARD))
    assert model_name.options == [
        *(f"built-in: {name}" for name in builtin_names()),
        shard,
        "old.pth",
        "wan.safetensors",
        "memv2v: step20000.ckpt",
    ]
    assert adapter.options == ["the model's own", "step20000.ckpt"]


def test_wan21_runs_memory_without_training_and_without_cameras(
    comfy_api, loader, bases: Path, wan21: Weights
) -> None:
    save_file(wan21, str(bases / "wan.safetensors"))
    output = comfy_api.run_node(loader, model_name="wan.safetensors")
    model, clip, vae = output.result
    assert (clip, vae, adapter_of(model)) == (None, None, None)
    info = info_of(model)
    assert (info.model_name, info.mode, info.has_cameras) == (
        f"Wan2.1 T2V {SIZES}, wan",
        "training-free",
        False,
    )
    assert (info.source_placement, info.ratios.channels, info.ratios.spatial) == ("sequence", 16, 8)
    assert model.get_model_object("model_sampling").shift == 8.0
    assert "training-free mode" in output.ui.as_dict()["text"][0]
    assert same(weights_in(model), wan21)


def test_the_dtype_is_comfyuis_choice(
    comfy_api, loader, bases: Path, wan21: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfy.cli_args import args

    monkeypatch.setattr(args, "bf16_unet", True)  # --bf16-unet
    save_file(
        {name: value.float() for name, value in wan21.items()}, str(bases / "wan.safetensors")
    )
    model = comfy_api.run_node(loader, model_name="wan.safetensors").result[0]
    (native,) = comfy_api.nodes.UNETLoader().load_unet("wan.safetensors", "default")
    dtypes = {name: value.dtype for name, value in weights_in(model).items()}
    assert dtypes == {name: value.dtype for name, value in weights_in(native).items()}
    assert dtypes["blocks.0.ffn.0.weight"] == torch.bfloat16


@pytest.mark.parametrize("form", ["ckpt", "converted", "prefixed"])
def test_recammaster_is_a_base_with_cameras(
    comfy_api, loader, bases: Path, recammaster: Weights, form: str
) -> None:
    torch.save(recammaster, bases / "step20000.ckpt")
    name = "step20000.ckpt"
    if form == "converted":
        name = "converted.safetensors"
        convert(bases / "step20000.ckpt", bases / name)
    elif form == "prefixed":
        name = "prefixed.safetensors"
        save_file(
            {"model.diffusion_model." + key: value for key, value in recammaster.items()},
            str(bases / name),
        )
    model = comfy_api.run_node(loader, model_name=name).result[0]
    info = info_of(model)
    assert (info.mode, info.has_cameras, info.camera_conditioning) == (
        "training-free",
        True,
        "target",
    )
    assert info.clean_timestep == "target"
    assert info.model_name == f"ReCamMaster (Wan2.1 {SIZES}), {Path(name).stem}"
    assert model.get_model_object("model_sampling").shift == 5.0
    cameras = {
        key: value
        for key, value in recammaster.items()
        if "cam_encoder" in key or "projector" in key
    }
    assert same(
        {key: value.bfloat16() for key, value in adapter_of(model).state_dict().items()}, cameras
    )
    assert same(
        weights_in(model), {key: value for key, value in recammaster.items() if key not in cameras}
    )


@pytest.mark.parametrize("form", ["native", "diffusers", "folder"])
def test_lucyedit_takes_its_source_on_the_channel_axis(
    comfy_api, loader, bases: Path, lucy: Weights, form: str
) -> None:
    name = "lucy.safetensors"
    if form == "folder":
        name = str(Path("Lucy", "transformer", FIRST_SHARD))
        save_shards(bases / "Lucy" / "transformer", lucy)
    else:
        save_file(to_native_names(lucy) if form == "native" else lucy, str(bases / name))
    model = comfy_api.run_node(loader, model_name=name).result[0]
    info = info_of(model)
    assert (info.mode, info.has_cameras, info.source_placement) == (
        "training-free",
        False,
        "channels",
    )
    assert (info.ratios.channels, info.ratios.spatial, info.latent_size) == (48, 16, (30, 52))
    assert info.model_name.startswith(f"LucyEdit (Wan2.2 {SIZES}), ")
    assert model.get_model_object("model_sampling").shift == 5.0
    assert same(weights_in(model), to_native_names(lucy))


def test_wan22_5b_in_diffusers_names(comfy_api, loader, bases: Path) -> None:
    save_file(diffusers_wan(48, 48), str(bases / "ti2v.safetensors"))
    model = comfy_api.run_node(loader, model_name="ti2v.safetensors").result[0]
    assert (info_of(model).source_placement, type(model.model).__name__) == ("sequence", "WAN22")
    assert model.get_model_object("model_sampling").shift == 5.0


def test_files_in_the_packs_own_folder_are_bases_too(
    comfy_api, loader, adapters: Path, recammaster: Weights
) -> None:
    torch.save(recammaster, adapters / "step20000.ckpt")
    model = comfy_api.run_node(loader, model_name="memv2v: step20000.ckpt").result[0]
    assert info_of(model).has_cameras


def test_a_second_copy_of_a_base_is_the_same(comfy_api, loader, bases: Path, lucy: Weights) -> None:
    save_file(lucy, str(bases / "lucy.safetensors"))
    model = comfy_api.run_node(loader, model_name="lucy.safetensors").result[0]
    load, arguments = (
        model.cached_patcher_init
    )  # what ComfyUI calls for torch.compile and for a second GPU
    assert same(weights_in(load(*arguments, disable_dynamic=True)), weights_in(model))


def test_a_vae_inside_the_file_comes_out(comfy_api, loader, bases: Path, wan21: Weights) -> None:
    from comfy.ldm.wan.vae import WanVAE

    sizes = {
        "dim": 16,
        "z_dim": 16,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_scales": [],
    }
    vae = WanVAE(**sizes, temperal_downsample=[False, True, True], dropout=0.0).state_dict()
    weights = {"model.diffusion_model." + name: value for name, value in wan21.items()}
    weights |= {"vae." + name: torch.randn_like(value).contiguous() for name, value in vae.items()}
    save_file(weights, str(bases / "all_in_one.safetensors"))
    model, _, loaded = comfy_api.run_node(loader, model_name="all_in_one.safetensors").result
    assert loaded.first_stage_model.decoder.head[0].gamma.shape[0] == 16
    assert same(weights_in(model), wan21)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"decoder.middle.0.residual.0.gamma": torch.zeros(1)},
            "is a VAE, wanted a Wan DiT: .*Load VAE",
        ),
        (
            {"shared.weight": torch.zeros(1), "a.SelfAttention.q.weight": torch.zeros(1)},
            "is a text encoder, .*CLIP",
        ),
        (
            {"diffusion_model.x.lora_up.weight": torch.zeros(1)},
            "is a LoRA, .*ReCamMaster .step20000.ckpt.*",
        ),
        (
            {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)},
            "is a Stable Diffusion checkpoint",
        ),
    ],
)
def test_a_wrong_file_is_named_and_so_is_the_right_one(
    comfy_api, loader, bases: Path, weights: Weights, message: str
) -> None:
    save_file(weights, str(bases / "wrong.safetensors"))
    with pytest.raises(ValueError, match=f"wrong.safetensors in {re.escape(str(bases))} {message}"):
        comfy_api.run_node(loader, model_name="wrong.safetensors")


def test_our_adapter_as_a_model_is_refused(comfy_api, loader, adapters: Path) -> None:
    save_trained_adapter(adapters / "mine.safetensors")
    with pytest.raises(
        ValueError, match="mine.safetensors in .* is a memory adapter, .*; choose it as the adapter"
    ):
        comfy_api.run_node(loader, model_name="memv2v: mine.safetensors")


def test_half_of_spacetimepilot_and_other_wans_are_refused(
    comfy_api, loader, bases: Path, recammaster: Weights
) -> None:
    times = {
        f"blocks.{i}.frame_time_embedding.0.weight": torch.zeros(DIM, 256)
        for i in range(NUM_BLOCKS)
    }
    torch.save(recammaster | times, bases / "SpacetimePilot_1.3B_v1.ckpt")
    missing = (
        "SpaceTimePilot's blocks.0.frame_time_embedding.0.bias is missing, wanted .*; download"
    )
    with pytest.raises(ValueError, match=missing):
        comfy_api.run_node(loader, model_name="SpacetimePilot_1.3B_v1.ckpt")
    save_file(to_native_names(diffusers_wan(36, 16)), str(bases / "i2v.safetensors"))
    with pytest.raises(ValueError, match="36 input and 16 output channels"):
        comfy_api.run_node(loader, model_name="i2v.safetensors")


def test_a_base_that_is_not_whole_is_refused(
    comfy_api, loader, bases: Path, wan21: Weights
) -> None:
    weights = {
        name: value for name, value in wan21.items() if name != "blocks.1.self_attn.norm_k.weight"
    }
    save_file(weights, str(bases / "cut.safetensors"))
    with pytest.raises(
        ValueError, match="without 1 of its weights, the first 'blocks.1.self_attn.norm_k.weight'"
    ):
        comfy_api.run_node(loader, model_name="cut.safetensors")


def test_a_base_without_cameras_refuses_camera_work(
    comfy_api, loader, bases: Path, wan21: Weights
) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory

    save_file(wan21, str(bases / "wan.safetensors"))
    model = comfy_api.run_node(loader, model_name="wan.safetensors").result[0]
    with pytest.raises(
        ValueError, match="target_camera got a path, but Wan2.1 T2V .* has no camera weights"
    ):
        comfy_api.run_node(ApplyMemory, model=model, target_camera=path_of("pan_left"))
