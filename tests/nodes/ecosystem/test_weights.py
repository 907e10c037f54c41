"""Native ways to store, change and place a model's weights, under a MODEL with memory.

Weights are small and random, in the real key layout and loaded by ComfyUI's own loaders. Results
are compared in the DiT's space; one step gives the model's first prediction.
"""

import os
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.gguf_files import gguf_pack, write_gguf

FP8 = torch.float8_e4m3fn


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


def with_changes(tiny_wan: Any, kind: str) -> Any:
    """`tiny_wan` whose adapter also changes the base's weights."""
    from instruments.adapter_files import random_changes
    from instruments.tiny_wan import SIZES

    changes = random_changes(SIZES, kind)
    return replace(tiny_wan, adapter=replace(tiny_wan.adapter, base_changes=changes))


@pytest.mark.parametrize("loader", ["LoraLoaderModelOnly", "LoraLoaderBypassModelOnly"])
def test_lora_before_and_after_apply_memory_are_one(
    tiny_wan, comfy_api, wan_model, plain, loader: str
) -> None:
    from instruments.tiny_wan import lora_weights, patch_embedding_lora

    weights = lora_weights() if "Bypass" in loader else {**lora_weights(), **patch_embedding_lora()}
    name = tiny_wan.save(weights, f"{loader}.safetensors", "loras")
    known = getattr(comfy_api.nodes, loader, None) or tiny_wan.extra("nodes_lora_debug", loader)

    def with_lora(model: Any) -> Any:
        return tiny_wan.run(known, model, name, 0.6)

    before = tiny_wan.sample(tiny_wan.turn(with_lora(wan_model)))
    after = tiny_wan.sample(tiny_wan.turn(wan_model), with_lora(tiny_wan.turn(wan_model).model))
    assert torch.equal(before, after)
    assert distance(before, plain) > 1e-2
    assert torch.equal(tiny_wan.sample(tiny_wan.turn(wan_model)), plain)  # the LoRA leaves no trace


@pytest.mark.parametrize(
    ("dtype", "weight_dtype"), [(FP8, "fp8_e4m3fn"), (torch.bfloat16, "default")], ids=str
)
def test_stored_precision_costs_only_the_weights_rounding(
    tiny_wan, plain, dtype: torch.dtype, weight_dtype
) -> None:
    from instruments.tiny_wan import wan_weights

    stored = {
        name: values if "patch_emb" in name else values.to(dtype)
        for name, values in wan_weights().items()
    }
    rounded = tiny_wan.load(
        tiny_wan.save({n: v.float() for n, v in stored.items()}, "rounded.safetensors")
    )
    small = tiny_wan.load(tiny_wan.save(stored, "stored.safetensors"), weight_dtype)
    kept = small.model.diffusion_model.blocks[0].self_attn.q.weight.dtype
    assert kept == (FP8 if dtype == FP8 else torch.float32)  # a CPU is given bf16 files in fp32
    result = tiny_wan.sample(tiny_wan.turn(small))
    assert distance(result, tiny_wan.sample(tiny_wan.turn(rounded))) < 1e-4
    assert 1e-3 < distance(result, plain) < 1.0
    assert tiny_wan.memory_matters(small, result)


def test_bf16_computation_is_close_to_fp32(tiny_wan, wan_model) -> None:
    import comfy.sd

    node = tiny_wan.extra("nodes_model_advanced", "ModelComputeDtype")
    once = {"steps": 1}  # processors without bf16 are slow at it
    plain = tiny_wan.sample(tiny_wan.turn(wan_model), **once)
    before = tiny_wan.sample(tiny_wan.turn(tiny_wan.run(node, wan_model, "bf16")), **once)
    turn = tiny_wan.turn(wan_model)
    assert torch.equal(
        before, tiny_wan.sample(turn, tiny_wan.run(node, turn.model, "bf16"), **once)
    )
    file = tiny_wan.comfy_api.base_dir / "models" / "diffusion_models" / "tiny_wan.safetensors"
    bf16 = tiny_wan.run(
        node, comfy.sd.load_diffusion_model(str(file), {"dtype": torch.bfloat16}), "bf16"
    )
    stored = tiny_wan.sample(tiny_wan.turn(bf16), **once)
    assert bf16.model.diffusion_model.blocks[0].self_attn.q.weight.dtype == torch.bfloat16
    for result in (before, stored):
        assert 0 < (result - plain).norm() / plain.norm() < 0.02
    assert (
        result - tiny_wan.sample(tiny_wan.turn(wan_model, plan=None), **once)
    ).norm() / plain.norm() > 0.02


def test_a_gguf_file_gives_what_its_dequantised_weights_give(tiny_wan, comfy_api, plain) -> None:
    from instruments.tiny_wan import lora_weights

    pack = gguf_pack()
    held = write_gguf(comfy_api.base_dir / "models" / "diffusion_models" / "tiny_wan_q8.gguf")
    model = tiny_wan.run(pack.UnetLoaderGGUF, unet_name="tiny_wan_q8.gguf")
    whole = tiny_wan.sample(
        tiny_wan.turn(tiny_wan.load(tiny_wan.save(held, "dequantised.safetensors")))
    )
    result = tiny_wan.sample(tiny_wan.turn(model))
    assert distance(result, whole) < 2e-2  # by default the pack dequantises to fp16
    assert 1e-4 < distance(result, plain) < 1.0
    assert tiny_wan.memory_matters(model, result)

    lora = tiny_wan.save(lora_weights(), "gguf_lora.safetensors", "loras")
    loader = comfy_api.nodes.LoraLoaderModelOnly
    before = tiny_wan.sample(tiny_wan.turn(tiny_wan.run(loader, model, lora, 0.6)))
    after = tiny_wan.sample(
        tiny_wan.turn(model), tiny_wan.run(loader, tiny_wan.turn(model).model, lora, 0.6)
    )
    assert torch.equal(before, after)
    assert distance(before, result) > 1e-2

    settings = {"unet_name": "tiny_wan_q8.gguf", "dequant_dtype": "float32", "patch_dtype": None}
    exact = tiny_wan.run(
        pack.UnetLoaderGGUFAdvanced, **settings, patch_on_device=False
    )  # for all its models
    assert distance(tiny_wan.sample(tiny_wan.turn(exact)), whole) < 1e-4


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_an_adapters_changes_reach_a_gguf_file(tiny_wan, comfy_api, kind: str) -> None:
    pack = gguf_pack()
    held = write_gguf(comfy_api.base_dir / "models" / "diffusion_models" / "changed_q8.gguf")
    settings = {"unet_name": "changed_q8.gguf", "dequant_dtype": "float32", "patch_dtype": None}
    packed = tiny_wan.run(pack.UnetLoaderGGUFAdvanced, **settings, patch_on_device=False)
    changing = with_changes(tiny_wan, kind)
    whole = tiny_wan.load(tiny_wan.save(held, "unpacked.safetensors"))
    result = changing.sample(changing.turn(packed))
    assert distance(result, changing.sample(changing.turn(whole))) < 1e-4
    assert distance(result, tiny_wan.sample(tiny_wan.turn(packed))) > 1e-2


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_weights_left_outside_a_small_memory_change_nothing(
    tiny_wan, comfy_api, wan_model, plain, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """ComfyUI is told that its device is a card with room for a part of the weights; the device is
    the CPU still.
    """
    import comfy.model_management as management
    from comfy.patcher_extension import CallbacksMP
    from instruments.tiny_wan import lora_weights

    name = tiny_wan.save(lora_weights(), "lowvram.safetensors", "loras")
    model = tiny_wan.load()
    changing = with_changes(tiny_wan, "full")
    turn = changing.turn(tiny_wan.run(comfy_api.nodes.LoraLoaderModelOnly, model, name, 0.6))
    whole = tiny_wan.sample(turn)
    management.unload_all_models()
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    monkeypatch.setattr(management, "vram_state", management.VRAMState.LOW_VRAM)
    monkeypatch.setattr(management, "minimum_inference_memory", lambda: 0)
    monkeypatch.setattr(management, "MIN_WEIGHT_MEMORY_RATIO", share)
    free = turn.model.model_size()
    monkeypatch.setattr(
        management, "get_free_memory", lambda device, both=False: (free, free) if both else free
    )
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e12)
    loaded = []
    turn.model.add_callback(
        CallbacksMP.ON_LOAD, lambda patcher, *args: loaded.append(patcher.loaded_size() / free)
    )
    tight = tiny_wan.sample(turn)
    assert model.model.model_lowvram
    assert model.model.lowvram_patch_counter > 0
    assert loaded
    assert loaded[-1] <= share
    assert (share == 0.0) == (loaded[-1] == 0.0)
    assert distance(tight, whole) < 1e-5
    assert distance(whole, plain) > 1e-2
    management.unload_all_models()


@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_a_compiled_model_is_close_to_the_plain_one(tiny_wan, wan_model, backend: str) -> None:
    """The native node offers inductor, which compiles for minutes here; "eager" traces the forward
    as it does.

    Attention is PyTorch's, as on cards: what ComfyUI takes on a CPU reads the free memory, which
    nothing can trace.
    """
    from comfy.ldm.modules.attention import attention_pytorch

    if backend == "inductor" and not os.environ.get("MEMV2V_SLOW_TESTS"):
        pytest.skip("MEMV2V_SLOW_TESTS is not set; inductor takes minutes on a CPU")
    if backend == "inductor" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
        pytest.skip("inductor needs a C++ compiler")
    turn = tiny_wan.turn(wan_model)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = tiny_wan.with_attention(
        turn.model, lambda attend, *args, **kwargs: attention_pytorch(*args, **kwargs)
    )
    compiled = tiny_wan.run(
        tiny_wan.extra("nodes_torch_compile", "TorchCompileModel"), model=model, backend=backend
    )
    result = tiny_wan.sample(turn, compiled, steps=1)
    assert distance(result, tiny_wan.sample(turn, steps=1)) < 1e-4
    # Three graphs: what ComfyUI does before, the clean tokens, and the forward. Nothing falls out
    # of them but our way from one to the next.
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 3
    assert all("MemoryRun.forward" in reason for reason in counters["graph_break"])


def test_a_compiled_model_sees_the_frames_of_every_window_and_the_memories_of_every_run(
    tiny_wan, wan_model
) -> None:
    """ComfyUI's node lets torch.compile take everything in the options of a call for granted."""
    from comfy.ldm.modules.attention import attention_pytorch

    torch._dynamo.reset()

    def native(attend: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return attention_pytorch(*args, **kwargs)

    node = tiny_wan.extra("nodes_torch_compile", "TorchCompileModel")
    for kernels in ((4, 8), (8, 4)):
        plan = tiny_wan.plan(wan_model, kernels, None, num_latent=6)
        turn = tiny_wan.turn(wan_model, num_latent=6, plan=plan)
        model = tiny_wan.windows(tiny_wan.with_attention(turn.model, native))
        compiled = tiny_wan.run(node, model=model, backend="eager")
        results = [tiny_wan.sample(turn, each, steps=1) for each in (model, compiled)]
        assert distance(*results) < 1e-4
