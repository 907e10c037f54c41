"""Native Wan tools on a patched MODEL: each works beside source, memories, cameras and merging.

Weights are small and random, in the real key layout and loaded by ComfyUI's own loaders. Results
are compared in the DiT's space; one step gives the model's first prediction.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from instruments.entry_files import with_content


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


def test_source_memories_cameras_and_merging_all_reach_the_result(
    tiny_wan, wan_model, plain
) -> None:
    changes = [
        {"source": {"samples": tiny_wan.video(99)[None]}},
        {"plan": tiny_wan.plan(wan_model, kernels=(4,))},
        {"plan": tiny_wan.plan(wan_model, merging=None)},
        {"target_camera": tiny_wan.path("tilt_up")},
        {"source_camera": tiny_wan.path("pan_right")},
    ]
    for change in changes:
        assert distance(tiny_wan.sample(tiny_wan.turn(wan_model, **change)), plain) > 1e-3, change


def test_a_context_window_over_everything_equals_no_windows(tiny_wan, wan_model, plain) -> None:
    turn = tiny_wan.turn(wan_model)
    assert torch.equal(tiny_wan.sample(turn, tiny_wan.windows(turn.model)), plain)
    assert torch.equal(tiny_wan.sample(tiny_wan.turn(tiny_wan.windows(wan_model))), plain)


@pytest.mark.parametrize("conditioning", ["per_video", "target"])
def test_each_context_window_equals_a_run_on_its_slice(
    tiny_wan, wan_model, conditioning: str
) -> None:
    """Six latent frames in windows 0-2 and 3-5; ComfyUI puts frame 2 before the second and drops
    its result.
    """
    memories = tiny_wan.plan(wan_model, num_latent=3, camera_conditioning=conditioning)
    if conditioning == "target":
        memories = replace(memories, retrieval=replace(memories.retrieval, ranked=()), kernels=())
    still = {"source_camera": None}  # static: its first frame is the same wherever a slice starts
    turn = tiny_wan.turn(wan_model, num_latent=6, plan=memories, **still)
    noise = tiny_wan.video(8, 6)[None]
    whole = tiny_wan.predict(turn, noise, tiny_wan.windows(turn.model))
    for frames, kept in (((0, 1, 2), 0), ((2, 3, 4, 5), 1)):
        first, last = frames[0], frames[-1]
        part = tiny_wan.turn(
            wan_model,
            plan=memories,
            source={"samples": turn.inputs["source"]["samples"][:, :, first : last + 1]},
            target_camera=turn.inputs["target_camera"].frames(range(4 * first, 4 * last + 1)),
            **still,
        )
        alone = tiny_wan.predict(part, noise[:, :, first : last + 1])
        assert distance(whole[:, :, first + kept : last + 1], alone[:, :, kept:]) < 1e-5
    assert distance(whole, tiny_wan.predict(turn, noise)) > 1e-2


def test_a_context_window_sees_its_own_source_frames_and_every_memory(tiny_wan, wan_model) -> None:
    noise = tiny_wan.video(8, 6)[None]

    def result(last_source: float, last_memory: float) -> torch.Tensor:
        source, memories = (
            tiny_wan.video(3, 6),
            tiny_wan.plan(wan_model, kernels=(4,), merging=None, num_latent=6),
        )
        source[:, 5] += last_source
        entry = memories.retrieval.ranked[0].entry
        latent = entry.latent.clone()
        latent[:, 5] += last_memory
        ranked = (replace(memories.retrieval.ranked[0], entry=with_content(entry, latent=latent)),)
        memories = replace(memories, retrieval=replace(memories.retrieval, ranked=ranked))
        turn = tiny_wan.turn(
            wan_model, num_latent=6, plan=memories, source={"samples": source[None]}
        )
        return tiny_wan.predict(turn, noise, tiny_wan.windows(turn.model))

    before, other_source, other_memory = result(0, 0), result(5, 0), result(0, 5)
    assert torch.equal(before[:, :, :3], other_source[:, :, :3])
    assert distance(before[:, :, 3:], other_source[:, :, 3:]) > 1e-2
    assert distance(before[:, :, :3], other_memory[:, :, :3]) > 1e-3


def test_overlapping_windows_of_the_node_s_defaults_run_with_guidance(tiny_wan, wan_model) -> None:
    turn = tiny_wan.turn(wan_model, num_latent=7)
    settings = {"context_schedule": "standard_uniform", "fuse_method": "pyramid", "freenoise": True}
    patched = tiny_wan.windows(turn.model, 13, 4, retain_first_frame=True, **settings)
    result = tiny_wan.sample(turn, patched, cfg=2.0)
    assert result.isfinite().all()
    without = tiny_wan.turn(wan_model, num_latent=7, plan=None)
    patched = tiny_wan.windows(without.model, 13, 4, retain_first_frame=True, **settings)
    assert distance(result, tiny_wan.sample(without, patched, cfg=2.0)) > 1e-2


def test_windows_and_memories_are_both_in_the_memory_estimate(
    tiny_wan, wan_model, monkeypatch
) -> None:
    import comfy.sampler_helpers

    seen, estimate = [], comfy.sampler_helpers.estimate_memory
    monkeypatch.setattr(
        comfy.sampler_helpers,
        "estimate_memory",
        lambda m, shape, c: seen.append(shape[2]) or estimate(m, shape, c),
    )
    turn = tiny_wan.turn(wan_model, num_latent=6)
    tiny_wan.sample(turn, steps=1)
    tiny_wan.sample(turn, tiny_wan.windows(turn.model), steps=1)
    tiny_wan.sample(tiny_wan.turn(tiny_wan.windows(wan_model), num_latent=6), steps=1)
    # source as long as the target; memories of 6 frames at a quarter and a sixteenth of its tokens:
    # 1.875 frames
    assert seen == [6 + 6 + 2, 3 + 3 + 2, 3 + 3 + 2]


def test_windows_over_another_axis_are_refused(tiny_wan, wan_model) -> None:
    turn = tiny_wan.turn(wan_model)
    settings = {
        "context_schedule": "batched",
        "context_stride": 1,
        "closed_loop": False,
        "fuse_method": "flat",
    }
    node = tiny_wan.extra("nodes_context_windows", "ContextWindowsManualNode")
    settings |= {"context_length": 8, "context_overlap": 0, "dim": 4, "freenoise": False}
    with pytest.raises(
        ValueError, match=r"piece \(3, 8, 8\) of the latent, wanted 3 of its 3 frames"
    ):
        tiny_wan.sample(turn, tiny_wan.run(node, model=turn.model, **settings))


def skip_layers(wan: Any, model: Any, layers: str, scale: float = 2.0) -> Any:
    node = wan.extra("nodes_slg", "SkipLayerGuidanceDiT")
    percents = {"start_percent": 0.0, "end_percent": 1.0}
    return wan.run(
        node, model=model, scale=scale, double_layers=layers, single_layers="", **percents
    )


def test_skip_layer_guidance_skips_a_layer_of_the_memory_forward(tiny_wan, wan_model) -> None:
    turn = tiny_wan.turn(wan_model)
    without_layer = turn.model.clone()
    without_layer.set_model_patch_replace(lambda given, tools: given, "dit", "double_block", 1)
    full, skipped = (tiny_wan.sample(turn, model, steps=1) for model in (turn.model, without_layer))
    guided = tiny_wan.sample(turn, skip_layers(tiny_wan, turn.model, "1"), steps=1)
    before = tiny_wan.sample(tiny_wan.turn(skip_layers(tiny_wan, wan_model, "1")), steps=1)
    assert distance(full, skipped) > 1e-2
    assert distance(guided, full + 2.0 * (full - skipped)) < 1e-4
    assert torch.equal(guided, before)


def test_a_block_patch_sees_every_token(tiny_wan, wan_model) -> None:
    seen: list[tuple] = []

    def look(given: dict) -> dict:
        seen.append((given["block_index"], given["img"].shape[1], tuple(given["vec"].shape)))
        return given

    turn = tiny_wan.turn(wan_model, plan=tiny_wan.plan(wan_model, merging=None))
    patched = turn.model.clone()
    patched.set_model_patch(look, "double_block")
    tiny_wan.sample(turn, patched, steps=1)
    tokens = 3 * (32 + 32 + 8 + 2)
    assert seen == [(i, tokens, (1, 1, 256)) for i in range(3)]


def test_easy_cache_that_may_reuse_nothing_changes_nothing(tiny_wan, wan_model) -> None:
    node = tiny_wan.extra("nodes_easycache", "EasyCacheNode")
    settings = {"start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    turn = tiny_wan.turn(wan_model)
    steps = {"steps": 4, "cfg": 1.5}
    plain = tiny_wan.sample(turn, **steps)
    never = tiny_wan.run(node, model=turn.model, reuse_threshold=0.0, **settings)
    assert torch.equal(tiny_wan.sample(turn, never, **steps), plain)

    calls: list[int] = []

    def count(attend: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        return attend(*args, **kwargs)

    for model in (
        tiny_wan.run(node, model=turn.model, reuse_threshold=3.0, **settings),
        tiny_wan.turn(tiny_wan.run(node, model=wan_model, reuse_threshold=3.0, **settings)).model,
    ):
        reused = tiny_wan.sample(turn, tiny_wan.with_attention(model, count), **steps)
        assert 0 < distance(reused, plain) < 10
        assert len(calls) < 4 * 3 * 2  # steps, blocks, attentions of a block
        calls.clear()


def test_model_sampling_sd3_before_and_after_are_one(tiny_wan, wan_model, plain) -> None:
    node = tiny_wan.extra("nodes_model_advanced", "ModelSamplingSD3")
    before = tiny_wan.sample(tiny_wan.turn(tiny_wan.run(node, wan_model, 3.0)))
    turn = tiny_wan.turn(wan_model)
    after = tiny_wan.sample(turn, tiny_wan.run(node, turn.model, 3.0))
    assert torch.equal(before, after)
    assert distance(before, plain) > 1e-2
    assert torch.equal(
        tiny_wan.sample(turn, tiny_wan.run(node, turn.model, 8.0)), plain
    )  # Wan's own shift


def test_sampler_custom_advanced_equals_ksampler(tiny_wan, wan_model) -> None:
    def node(name: str, **inputs: Any) -> Any:
        return tiny_wan.run(tiny_wan.extra("nodes_custom_sampler", name), **inputs)

    turn = tiny_wan.turn(wan_model)
    prompts = {"positive": turn.positive, "negative": turn.negative}
    sampled = node(
        "SamplerCustomAdvanced",
        noise=node("RandomNoise", noise_seed=5),
        guider=node("CFGGuider", model=turn.model, **prompts, cfg=2.0),
        sampler=node("KSamplerSelect", sampler_name="euler"),
        sigmas=node("BasicScheduler", model=turn.model, scheduler="simple", steps=2, denoise=1.0),
        latent_image=turn.latent,
    )
    expected = tiny_wan.sample(turn, cfg=2.0)
    assert torch.equal(turn.model.model.process_latent_in(sampled["samples"]), expected)


def test_a_batch_and_prompts_run_together_or_apart(
    tiny_wan, wan_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = tiny_wan.turn(wan_model, batch_size=2)
    together = tiny_wan.sample(turn, cfg=2.0)
    for row in range(2):
        one = {"samples": turn.latent["samples"][row : row + 1], "batch_index": [row]}
        assert distance(tiny_wan.sample(turn, latent=one, cfg=2.0), together[row : row + 1]) < 1e-4
    monkeypatch.setattr(type(wan_model.model), "memory_required", lambda *args, **kwargs: 1e30)
    assert distance(tiny_wan.sample(turn, cfg=2.0), together) < 1e-4


def test_a_lora_hook_on_one_prompt_leaves_the_other_prompt_s_tokens_alone(
    tiny_wan, wan_model
) -> None:
    """The LoRA changes how latents become tokens, so tokens made under it may not serve the other
    prompt.
    """
    import comfy.hooks
    from instruments.tiny_wan import patch_embedding_lora

    lora = patch_embedding_lora()
    name = tiny_wan.save(lora, "hook.safetensors", "loras")
    turn = tiny_wan.turn(wan_model)
    hooks = comfy.hooks.create_hook_lora(lora, 0.8, 0.0)
    hooked = replace(turn, positive=comfy.hooks.set_hooks_for_conditioning(turn.positive, hooks))
    guided = tiny_wan.sample(hooked, steps=1, cfg=3.0)
    with_lora = tiny_wan.run(tiny_wan.comfy_api.nodes.LoraLoaderModelOnly, turn.model, name, 0.8)
    positive = tiny_wan.sample(turn, with_lora, steps=1)
    negative = tiny_wan.sample(replace(turn, positive=turn.negative), steps=1)
    assert distance(guided, negative + 3.0 * (positive - negative)) < 1e-3
    assert distance(positive, tiny_wan.sample(turn, steps=1)) > 1e-2


def test_attention_overrides_take_part_in_every_attention(tiny_wan, wan_model, plain) -> None:
    lengths: list[tuple[int, int]] = []

    def look(
        attend: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        lengths.append((query.shape[1], key.shape[1]))
        return attend(query, key, *args, **kwargs)

    turn = tiny_wan.turn(wan_model, plan=tiny_wan.plan(wan_model, merging=None))
    tiny_wan.sample(turn, tiny_wan.with_attention(turn.model, look), steps=1)
    tokens = 3 * (32 + 32 + 8 + 2)
    assert lengths == [(tokens, tokens), (tokens, 6)] * 3

    merged = tiny_wan.turn(wan_model)
    assert torch.equal(tiny_wan.sample(merged, tiny_wan.with_attention(merged.model, look)), plain)
    halved = tiny_wan.with_attention(
        merged.model, lambda attend, *args, **kwargs: attend(*args, **kwargs) / 2
    )
    assert distance(tiny_wan.sample(merged, halved), plain) > 1e-2


def test_rope_options_move_conditioning_tokens_along(tiny_wan, wan_model, plain) -> None:
    turn = tiny_wan.turn(wan_model)
    assert torch.equal(tiny_wan.sample(turn, tiny_wan.scale_rope(turn.model)), plain)
    shifted = tiny_wan.scale_rope(turn.model, shift_t=5.0, shift_x=3.0)
    assert (
        distance(tiny_wan.sample(turn, shifted), plain) < 1e-3
    )  # only differences of positions count
    assert (
        distance(tiny_wan.sample(turn, tiny_wan.scale_rope(turn.model, scale_t=2.0)), plain) > 1e-2
    )


def test_target_conditioning_tells_every_video_the_target_s_pose_and_rays(
    tiny_wan, wan_model, plain
) -> None:
    memories = tiny_wan.plan(wan_model, camera_conditioning="target")
    target = tiny_wan.path("pan_left")
    told = tiny_wan.sample(tiny_wan.turn(wan_model, plan=memories, source_camera=target))
    ranked = tuple(
        replace(item, entry=with_content(item.entry, camera=target))
        for item in memories.retrieval.ranked
    )
    own = replace(
        memories,
        retrieval=replace(memories.retrieval, ranked=ranked),
        camera_conditioning="per_video",
    )
    assert torch.equal(
        told, tiny_wan.sample(tiny_wan.turn(wan_model, plan=own, source_camera=target))
    )
    assert distance(told, plain) > 1e-3
