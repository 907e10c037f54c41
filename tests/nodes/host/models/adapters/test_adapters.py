"""Adapter files on top of bases, through the loaders."""

import os
from pathlib import Path

import pytest
import torch
from instruments.published import (
    FIRST_SHARD,
    adapter_of,
    info_of,
    path_of,
    save_shards,
    save_trained_adapter,
)
from safetensors.torch import save_file

Weights = dict[str, torch.Tensor]
DIM, NUM_BLOCKS = 128, 2
SIZES = f"{NUM_BLOCKS} blocks of {DIM}"
NUM_FRAMES = 5


def test_an_adapter_file_goes_on_top_of_any_base(
    comfy_api, loader, bases: Path, adapters: Path, recammaster: Weights
) -> None:
    torch.save(recammaster, bases / "step20000.ckpt")
    save_trained_adapter(adapters / "mine.safetensors")
    model = comfy_api.run_node(
        loader, model_name="step20000.ckpt", adapter="mine.safetensors"
    ).result[0]
    info = info_of(model)
    assert (info.mode, info.clean_timestep, info.camera_conditioning) == (
        "trained",
        "zero",
        "per_video",
    )
    assert info.model_name == f"ReCamMaster (Wan2.1 {SIZES}), step20000 with mine"
    assert adapter_of(model).config.has_tokenizers
    assert not adapter_of(model).blocks[0].cam_encoder.weight.any()  # the file's, not ReCamMaster's


def test_an_adapter_of_another_base_is_refused(
    comfy_api, loader, bases: Path, adapters: Path, lucy: Weights
) -> None:
    save_file(lucy, str(bases / "lucy.safetensors"))
    save_trained_adapter(adapters / "mine.safetensors")
    with pytest.raises(ValueError, match="in_channels got 16, wanted 96 of this base model"):
        comfy_api.run_node(loader, model_name="lucy.safetensors", adapter="mine.safetensors")


def test_fingerprint_follows_every_shard_and_the_adapter(
    loader, bases: Path, adapters: Path, lucy: Weights
) -> None:
    save_shards(bases / "Lucy", lucy)
    save_trained_adapter(adapters / "mine.safetensors")
    chosen = {"model_name": str(Path("Lucy", FIRST_SHARD))}
    seen = {loader.fingerprint_inputs(**chosen)}
    assert seen == {loader.fingerprint_inputs(**chosen)}
    os.utime(bases / "Lucy" / "diffusion_pytorch_model-00002-of-00002.safetensors", ns=(1, 1))
    seen.add(loader.fingerprint_inputs(**chosen))
    seen.add(loader.fingerprint_inputs(**chosen, adapter="mine.safetensors"))
    os.utime(adapters / "mine.safetensors", ns=(1, 1))
    seen.add(loader.fingerprint_inputs(**chosen, adapter="mine.safetensors"))
    assert len(seen) == 4
    assert loader.fingerprint_inputs(model_name="gone.safetensors") == "missing"


def test_cameras_on_a_model_of_another_loader_equal_the_whole_checkpoint(
    comfy_api, loader, adapter_loader, ksampler, bases: Path, adapters: Path, recammaster: Weights
) -> None:
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    from memory_v2v.nodes.sampling import ApplyMemory

    save_file(recammaster, str(bases / "recam.safetensors"))
    torch.save(recammaster, adapters / "step20000.ckpt")
    whole = comfy_api.run_node(loader, model_name="recam.safetensors").result[0]
    (plain,) = comfy_api.nodes.UNETLoader().load_unet("recam.safetensors", "default")
    (plain,) = ModelSamplingSD3().patch(plain, 5.0)
    (adapter,) = comfy_api.run_node(adapter_loader, adapter_name="step20000.ckpt").result
    prompt = [[torch.randn(1, 4, 4096), {}]]
    source = {"samples": torch.randn(1, 16, 2, 4, 4)}
    shot = {
        "positive": prompt,
        "negative": prompt,
        "source": source,
        "target_camera": path_of("pan_left"),
    }
    results = [
        ksampler(*comfy_api.run_node(ApplyMemory, model=model, **shot, **extra).result)
        for model, extra in (
            (whole, {}),
            (plain, {"adapter": adapter}),
            (plain, {"adapter": adapter}),
        )
    ]
    assert torch.equal(results[0], results[1])
    other = {**shot, "target_camera": path_of("pan_right")}
    moved = ksampler(*comfy_api.run_node(ApplyMemory, model=plain, **other, adapter=adapter).result)
    assert (moved - results[1]).abs().max() > 0.01


def test_recammasters_cameras_alone_are_labelled_so(
    comfy_api, adapter_loader, adapters: Path, recammaster: Weights
) -> None:
    torch.save(recammaster, adapters / "step20000.ckpt")
    output = comfy_api.run_node(adapter_loader, adapter_name="step20000.ckpt")
    (adapter,) = output.result
    assert (adapter.name, adapter.mode, len(adapter.state)) == (
        "step20000",
        "training-free",
        4 * NUM_BLOCKS,
    )
    shown = output.ui.as_dict()["text"][0]
    assert "camera weights alone" in shown
    assert "self-attention stays in its checkpoint" in shown


def test_a_trained_adapter_is_labelled_so(comfy_api, adapter_loader, adapters: Path) -> None:
    save_trained_adapter(adapters / "mine.safetensors")
    assert adapter_loader.define_schema().inputs[0].options == ["mine.safetensors"]
    (adapter,) = comfy_api.run_node(adapter_loader, adapter_name="mine.safetensors").result
    assert (adapter.name, adapter.mode, adapter.config.clean_timestep) == (
        "mine",
        "trained",
        "zero",
    )
    before = adapter_loader.fingerprint_inputs(adapter_name="mine.safetensors")
    os.utime(adapters / "mine.safetensors", ns=(1, 1))
    assert adapter_loader.fingerprint_inputs(adapter_name="mine.safetensors") != before


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"x.lora_up.weight": torch.zeros(1)},
            "is a LoRA, wanted a memory adapter or a ReCamMaster checkpoint",
        ),
        (
            None,
            "is Wan2.1 T2V .*, wanted a memory adapter or a ReCamMaster checkpoint .*; choose it "
            "as the model",
        ),
    ],
)
def test_a_file_that_is_no_adapter_is_named(
    comfy_api, adapter_loader, adapters: Path, wan21: Weights, weights: Weights | None, message: str
) -> None:
    save_file(weights or wan21, str(adapters / "wrong.safetensors"))
    with pytest.raises(ValueError, match=f"wrong.safetensors in .* {message}"):
        comfy_api.run_node(adapter_loader, adapter_name="wrong.safetensors")
