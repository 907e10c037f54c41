"""Reuse of kept clean keys and values under everything that ComfyUI puts around a MODEL.

An adapter with one-way attention makes reuse exact: one refresh must serve the whole run, and every
result must equal the one with a refresh in every call. Weights are small and random, on real
loaders.
"""

import gc
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.gguf_files import gguf_pack, write_gguf
from instruments.wan_turns import AppliedTurn, TinyWan

from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.reuse import ReuseConfig

EVERY_CALL = ReuseConfig(1)
ONE_WAY = {"attention": "one_way", "clean_timestep": "zero", "clean_reads_text": False}
Change = Callable[[Any], Any]


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


@pytest.fixture(scope="module")
def one_way(tiny_wan: TinyWan) -> TinyWan:
    """`tiny_wan` with an adapter whose clean tokens see neither target, step nor prompt."""
    return _with_adapter(tiny_wan, **ONE_WAY)


@pytest.fixture(scope="module", params=[False, True], ids=["no text", "text"])
def either_way(tiny_wan: TinyWan, request: pytest.FixtureRequest) -> TinyWan:
    """The same, and one whose clean tokens read the prompt."""
    return _with_adapter(tiny_wan, **{**ONE_WAY, "clean_reads_text": request.param})


def _with_adapter(wan: TinyWan, **changes: Any) -> TinyWan:
    return replace(wan, adapter=replace(wan.adapter, config=replace(wan.adapter.config, **changes)))


def turn_of(wan: TinyWan, model: Any, reuse: ReuseConfig, **changes: Any) -> AppliedTurn:
    plan = {"merging": None, "reuse": reuse} | changes.pop("plan", {})
    num_latent = changes.get("num_latent", 3)
    return wan.turn(model, plan=wan.plan(model, num_latent=num_latent, **plan), **changes)


class Told:
    """What runs said about reuse."""

    def __init__(self, log: pytest.LogCaptureFixture) -> None:
        self.log = log

    def last(self) -> str:
        lines = [r.getMessage() for r in self.log.records if "Memory-V2V" in r.getMessage()]
        self.log.clear()
        return lines[-1] if lines else ""


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    caplog.set_level(logging.INFO)
    return Told(caplog)


def same(
    wan: TinyWan, model: Any, told: Told, change: Change = lambda model: model, **settings: Any
) -> str:
    """What a run with reuse said; its result was compared with a refresh in every call."""
    changes = {
        name: settings.pop(name) for name in ("batch_size", "num_latent") if name in settings
    }
    settings = {"steps": 4, **settings}
    results = []
    for reuse in (EVERY_CALL, ReuseConfig()):
        turn = turn_of(wan, model, reuse, **changes)
        results.append(wan.sample(turn, change(turn.model), **settings))
        text = told.last()
        assert bool(text) == (reuse is not EVERY_CALL)
    assert distance(*results) < 1e-5 * max(1.0, results[0].abs().max().item())
    return text


@pytest.mark.parametrize(
    ("sampler", "num_calls"),
    [("euler", 4), ("heun", 7), ("dpm_2", 7), ("dpmpp_2m", 4), ("res_multistep", 4)]
    + [("uni_pc", 4), ("euler_ancestral", 4), ("dpmpp_sde", 7), ("lcm", 4)],
)
def test_one_refresh_serves_a_run_of_every_sampler(
    one_way: TinyWan, wan_model: Any, told: Told, sampler: str, num_calls: int
) -> None:
    text = same(one_way, wan_model, told, sampler_name=sampler)
    assert f"refreshed in 1 of {num_calls} calls" in text


@pytest.mark.parametrize("batch_size", [1, 2])
def test_guidance_and_batches(
    either_way: TinyWan, wan_model: Any, told: Told, batch_size: int
) -> None:
    text = same(either_way, wan_model, told, batch_size=batch_size, cfg=2.0)
    # Prompt and negative prompt run as one batch here.
    assert "refreshed in 1 of 4 calls" in text
    # Twelve tokens of two memories and 32 of the source in 3 frames, two tensors in 3 blocks.
    one = 3 * (32 + 8 + 2) * 2 * 3 * 256 * 4
    rows = 2 * batch_size if either_way.adapter.config.clean_reads_text else 1
    assert f"{rows * one / 2**20:.0f} MiB kept" in text


def test_prompts_that_run_apart_are_kept_apart(
    either_way: TinyWan, wan_model: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = one_turn = turn_of(either_way, wan_model, ReuseConfig())
    together = either_way.sample(one_turn, cfg=2.0, steps=4)
    told.last()
    monkeypatch.setattr(type(wan_model.model), "memory_required", lambda *args, **kwargs: 1e30)
    text = same(either_way, wan_model, told, cfg=2.0)
    # One refresh for each prompt that is kept.
    count = 2 if either_way.adapter.config.clean_reads_text else 1
    assert f"refreshed in {count} of 8 calls" in text
    assert distance(either_way.sample(one_turn, cfg=2.0, steps=4), together) < 1e-4


def test_sampler_custom_advanced(one_way: TinyWan, wan_model: Any, told: Told) -> None:
    def node(name: str, **inputs: Any) -> Any:
        return one_way.run(one_way.extra("nodes_custom_sampler", name), **inputs)

    results = []
    for reuse in (EVERY_CALL, ReuseConfig()):
        turn = turn_of(one_way, wan_model, reuse)
        prompts = {"positive": turn.positive, "negative": turn.negative}
        sigmas = node("BasicScheduler", model=turn.model, scheduler="simple", steps=3, denoise=1.0)
        sampled = node(
            "SamplerCustomAdvanced",
            noise=node("RandomNoise", noise_seed=5),
            guider=node("CFGGuider", model=turn.model, **prompts, cfg=2.0),
            sampler=node("KSamplerSelect", sampler_name="euler"),
            sigmas=sigmas,
            latent_image=turn.latent,
        )
        results.append(sampled["samples"])
    assert distance(*results) < 1e-4
    assert "refreshed in 1 of 3 calls" in told.last()


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_each_context_window_keeps_its_own(
    either_way: TinyWan, wan_model: Any, told: Told, cfg: float
) -> None:
    text = same(either_way, wan_model, told, either_way.windows, num_latent=6, cfg=cfg)
    assert "refreshed in 2 of 8 calls" in text


def test_windows_that_move_give_reuse_up(one_way: TinyWan, wan_model: Any, told: Told) -> None:
    def moving(model: Any) -> Any:
        return one_way.windows(model, context_schedule="standard_uniform", context_overlap=4)

    text = same(one_way, wan_model, told, moving, num_latent=6, steps=8)
    assert "refreshed in" in text


def test_skip_layer_guidance(either_way: TinyWan, wan_model: Any, told: Told) -> None:
    """The guided pass skips a block, in the middle of the run alone."""

    def guided(model: Any) -> Any:
        node = either_way.extra("nodes_slg", "SkipLayerGuidanceDiT")
        given = {"scale": 2.0, "double_layers": "1", "single_layers": ""}
        return either_way.run(node, model=model, **given, start_percent=0.1, end_percent=0.9)

    text = same(either_way, wan_model, told, guided, cfg=1.5, steps=6)
    assert "refreshed in 2 of" in text


def test_easy_cache(one_way: TinyWan, wan_model: Any, told: Told) -> None:
    def cached(model: Any) -> Any:
        node = one_way.extra("nodes_easycache", "EasyCacheNode")
        given = {"reuse_threshold": 3.0, "start_percent": 0.0, "end_percent": 1.0}
        return one_way.run(node, model=model, verbose=False, **given)

    text = same(one_way, wan_model, told, cached, cfg=1.5, steps=6)
    assert "refreshed in 1 of" in text
    assert "of 6 calls" not in text  # EasyCache skipped some


def test_lora(one_way: TinyWan, comfy_api: Any, wan_model: Any, told: Told) -> None:
    from instruments.tiny_wan import lora_weights

    name = one_way.save(lora_weights(), "reuse_lora.safetensors", "loras")
    loader = comfy_api.nodes.LoraLoaderModelOnly
    same(one_way, wan_model, told, lambda model: one_way.run(loader, model, name, 0.6))


def test_fp8_weights(one_way: TinyWan, told: Told) -> None:
    from instruments.tiny_wan import wan_weights

    stored = {
        name: values if "patch_emb" in name else values.to(torch.float8_e4m3fn)
        for name, values in wan_weights().items()
    }
    name = one_way.save(stored, "reuse_fp8.safetensors")
    same(one_way, one_way.load(name, "fp8_e4m3fn"), told)


def test_gguf(one_way: TinyWan, comfy_api: Any, told: Told) -> None:
    pack = gguf_pack()
    folder = comfy_api.base_dir / "models" / "diffusion_models"
    write_gguf(folder / "reuse.gguf")
    with torch.inference_mode():
        (model,) = pack.UnetLoaderGGUF().load_unet("reuse.gguf")
    same(one_way, model, told)


def test_vace(one_way: TinyWan, told: Told) -> None:
    """The control has blocks of its own, which run in every call."""
    import node_helpers
    from instruments.tiny_wan import vace_weights

    model = one_way.load(one_way.save(vace_weights(), "reuse_vace.safetensors"))
    generator = torch.Generator().manual_seed(4)
    control = {
        "vace_frames": [torch.randn(1, 32, 3, 8, 16, generator=generator)],
        "vace_mask": [torch.ones(1, 64, 3, 8, 16)],
        "vace_strength": [0.7],
    }
    results = []
    for reuse in (EVERY_CALL, ReuseConfig()):
        turn = turn_of(one_way, model, reuse)
        positive = node_helpers.conditioning_set_values(turn.positive, control)
        results.append(one_way.sample(replace(turn, positive=positive), steps=4))
    assert distance(*results) < 1e-4
    assert "refreshed in 1 of 4 calls" in told.last()


def test_compile(one_way: TinyWan, wan_model: Any, told: Told) -> None:
    from comfy.ldm.modules.attention import attention_pytorch

    def native(attend: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        # What ComfyUI takes on a CPU reads the free memory, which nothing can trace.
        return attention_pytorch(*args, **kwargs)

    def compiled(model: Any) -> Any:
        node = one_way.extra("nodes_torch_compile", "TorchCompileModel")
        return one_way.run(node, model=one_way.with_attention(model, native), backend="eager")

    torch._dynamo.reset()
    assert "refreshed in 1 of 4 calls" in same(one_way, wan_model, told, compiled)


def test_merged_frames_are_chosen_once(one_way: TinyWan, wan_model: Any, told: Told) -> None:
    """With one step there is one choice in either case; with more, the first one stays."""
    merged = {"merging": MergeConfig(share=0.5)}
    turns = [
        turn_of(one_way, wan_model, reuse, plan=merged) for reuse in (EVERY_CALL, ReuseConfig())
    ]
    first, second = (one_way.sample(turn, steps=1, cfg=2.0) for turn in turns)
    assert torch.equal(first, second)
    once, together = (one_way.sample(turns[1], steps=4, cfg=2.0) for _ in range(2))
    assert torch.equal(once, together)
    assert "refreshed in 1 of 4 calls" in told.last()


def test_reuse_off_is_the_forward_without_it_bit_for_bit(
    tiny_wan: TinyWan, wan_model: Any, plain: torch.Tensor, told: Told
) -> None:
    """A published base is not measured, so automatic is off."""
    for reuse in (ReuseConfig(), EVERY_CALL):
        turn = tiny_wan.turn(wan_model, plan=tiny_wan.plan(wan_model, reuse=reuse))
        assert torch.equal(tiny_wan.sample(turn), plain)
        assert told.last() == ""


@pytest.mark.parametrize("precision", ["full", "fp8"])
def test_two_way_reuse_is_close_to_every_call(
    tiny_wan: TinyWan, wan_model: Any, told: Told, precision: Any
) -> None:
    def sampled(reuse: ReuseConfig) -> torch.Tensor:
        turn = tiny_wan.turn(wan_model, plan=tiny_wan.plan(wan_model, reuse=reuse))
        return tiny_wan.sample(turn, steps=6, cfg=2.0)

    exact = sampled(EVERY_CALL)
    found = (sampled(ReuseConfig(2, precision)) - exact).norm() / exact.norm()
    text = told.last()
    assert "refreshed in 3 of 6 calls" in text
    assert ("in fp8" in text) == (precision == "fp8")
    assert "their keys had changed by (timestep 0 to 1000): " in text
    assert 1e-4 < found < 0.2


def test_hooks_that_swap_weights_switch_reuse_off(
    one_way: TinyWan, wan_model: Any, told: Told
) -> None:
    import comfy.hooks
    from instruments.tiny_wan import patch_embedding_lora

    hooks = comfy.hooks.create_hook_lora(patch_embedding_lora(), 0.8, 0.0)
    results = []
    for reuse in (EVERY_CALL, ReuseConfig()):
        turn = turn_of(one_way, wan_model, reuse)
        hooked = replace(
            turn, positive=comfy.hooks.set_hooks_for_conditioning(turn.positive, hooks)
        )
        results.append(one_way.sample(hooked, cfg=3.0))
    assert torch.equal(*results)
    assert "hooks change the model's weights" in told.last()


@pytest.mark.parametrize("kind", ["interrupt", "end"])
def test_what_was_kept_is_gone_after_the_run(
    one_way: TinyWan, wan_model: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management

    from memory_v2v.nodes.host.patch.memory_run import MemoryRun

    kept: list[weakref.ref] = []
    forward = MemoryRun.forward

    def watched(self: MemoryRun, *args: Any, **kwargs: Any) -> torch.Tensor:
        result = forward(self, *args, **kwargs)
        for slot in self.reuse._slots.values():
            kept.extend(weakref.ref(stored.parts[0]) for stored in slot.kept._blocks[0])
        if kind == "interrupt" and len(kept) > 4:
            raise comfy.model_management.InterruptProcessingException
        return result

    monkeypatch.setattr(MemoryRun, "forward", watched)
    turn = turn_of(one_way, wan_model, ReuseConfig())
    if kind == "interrupt":
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            one_way.sample(turn, steps=6)
    else:
        one_way.sample(turn, steps=6)
    gc.collect()
    assert kept
    assert all(reference() is None for reference in kept)


def test_a_machine_without_room_falls_back_and_says_so(
    one_way: TinyWan, wan_model: Any, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_management

    turn = turn_of(one_way, wan_model, ReuseConfig())
    wanted = one_way.sample(turn)
    told.last()
    # ComfyUI asks the same function before every attention on a CPU; a little is left for it.
    real = comfy.model_management.get_free_memory
    monkeypatch.setattr(
        comfy.model_management,
        "get_free_memory",
        lambda *args, **kwargs: real(*args, **kwargs) if kwargs or len(args) > 1 else 2**20,
    )
    assert distance(one_way.sample(turn), wanted) < 1e-5
    assert "do not fit into memory" in told.last()


def test_what_is_kept_counts_in_comfyuis_estimate(
    one_way: TinyWan, wan_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    import comfy.model_management

    real = comfy.model_management.load_models_gpu

    def load(models: Any, memory_required: float = 0, **kwargs: Any) -> None:
        asked.append(memory_required)
        real(models, memory_required=memory_required, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load)
    for reuse in (EVERY_CALL, ReuseConfig()):
        one_way.sample(turn_of(one_way, wan_model, reuse), steps=1)
    kept = 3 * (32 + 8 + 2) * 2 * 3 * 256 * 4
    # Whole frames are counted, so up to one frame more.
    of_frame = 2 * 8 * 16 * 0.15 * wan_model.model.memory_usage_factor * 2**20
    assert kept <= asked[1] - asked[0] <= kept + 2 * of_frame
