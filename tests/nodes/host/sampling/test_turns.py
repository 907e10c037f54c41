"""ApplyMemory: what it leaves alone, what it changes, and what it refuses."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from devtools.api import output_files
from memv2v_core.model.adapter import AdapterConfig
from memv2v_core.sampling.turn import Turn
from memv2v_core.tokens.cost import plan_layout
from memv2v_core.tokens.merging import MergeConfig

SHAPE = (16, 3, 16, 16)


@pytest.fixture
def apply(comfy_api, tiny_model):
    """The outputs of ApplyMemory."""
    from memory_v2v.nodes.sampling import ApplyMemory

    def run(**inputs):
        return comfy_api.run_node(ApplyMemory, **{"model": tiny_model, **inputs}).result

    return run


@pytest.fixture
def one_turn(examples) -> dict:
    """Source, two memories, merging and cameras."""
    return {
        "source": {"samples": examples.latent(0)},
        "plan": examples.plan(merging=MergeConfig()),
        "source_camera": examples.path("pan_right", 3.0),
        "target_camera": examples.path("pan_left"),
    }


@pytest.fixture
def prompt() -> list:
    return [[torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(7)), {}]]


@pytest.fixture
def bare(comfy_api, tiny_model):
    """The same base without an adapter, as a native loader gives it."""
    from memory_v2v.nodes.host.models.attachment import KEY

    model = tiny_model.clone()
    model.set_additional_models(KEY, [])
    model.set_attachments(KEY, None)
    return model


def test_our_walk_of_the_native_dit_is_bit_equal_to_its_own(
    tiny_model, bare, ksampler, prompt
) -> None:
    from memory_v2v.nodes.host.models.attachment import base_info
    from memory_v2v.nodes.host.patch.memory_patch import MemoryPatch

    turn = Turn(base_info(tiny_model))
    patched = MemoryPatch(turn).attach(bare)
    empty = {"samples": torch.zeros(2, *turn.latent_shape)}
    plain = ksampler(bare, prompt, prompt, empty, cfg=2.0)
    assert plain.abs().max() > 0.1
    assert torch.equal(ksampler(patched, prompt, prompt, empty, cfg=2.0), plain)


def test_nothing_connected_is_bit_equal_on_the_server(comfy_server, tmp_path: Path) -> None:
    sampler = {
        "seed": 5,
        "steps": 2,
        "cfg": 1.0,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }
    given = {"positive": ["2", 1], "negative": ["2", 2], "latent_image": ["2", 3]}
    model_name = comfy_server.api.object_info()["LoadMemoryV2VModel"]["input"]["required"][
        "model_name"
    ][1]["options"][0]
    workflow = {
        "1": {"class_type": "LoadMemoryV2VModel", "inputs": {"model_name": model_name}},
        "2": {"class_type": "MemV2VApplyMemory", "inputs": {"model": ["1", 0], "batch_size": 1}},
        "3": {"class_type": "KSampler", "inputs": {"model": ["1", 0], **given, **sampler}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["2", 0], **given, **sampler}},
        "5": {
            "class_type": "SaveLatent",
            "inputs": {"samples": ["3", 0], "filename_prefix": "plain"},
        },
        "6": {
            "class_type": "SaveLatent",
            "inputs": {"samples": ["4", 0], "filename_prefix": "patched"},
        },
    }
    saved = {
        file.node_id: file for file in output_files(comfy_server.api.run(workflow, timeout_s=120))
    }
    plain, patched = (
        load_file(str(comfy_server.api.download(saved[node], tmp_path / node)))["latent_tensor"]
        for node in "56"
    )
    assert plain.abs().max() > 0.1
    assert torch.equal(plain, patched)


@pytest.mark.parametrize("left_out", ["source", "plan", "target_camera"])
def test_source_memories_and_path_all_matter(
    apply, ksampler, one_turn, examples, left_out: str
) -> None:
    changed = {**one_turn, left_out: None}
    if left_out == "target_camera":
        changed[left_out] = examples.path("tilt_up")
    results = []
    for inputs in (one_turn, changed):
        model, positive, negative, latent = apply(**inputs)
        results.append(ksampler(model, positive, negative, latent))
    assert (results[0] - results[1]).abs().max() > 1e-3


def test_the_given_model_stays_as_it_was(apply, ksampler, one_turn, tiny_model) -> None:
    positive, negative, latent = apply()[1:]
    latent = {"samples": torch.zeros(1, *SHAPE)}
    before = ksampler(tiny_model, positive, negative, latent)
    patched = apply(**one_turn)[0]
    ksampler(patched, positive, negative, latent)
    assert torch.equal(ksampler(tiny_model, positive, negative, latent), before)


def test_a_second_apply_memory_replaces_the_first(apply, ksampler, one_turn, examples) -> None:
    alone, positive, negative, latent = apply(**one_turn)
    other = apply(**{**one_turn, "target_camera": examples.path("tilt_up")})[0]
    twice = apply(**{**one_turn, "model": other})[0]
    assert torch.equal(
        ksampler(twice, positive, negative, latent), ksampler(alone, positive, negative, latent)
    )


def test_wrappers_added_downstream_still_run(apply, ksampler, one_turn) -> None:
    from comfy.patcher_extension import WrappersMP

    calls = []

    def count(executor, *args, **kwargs):
        calls.append(1)
        return executor(*args, **kwargs)

    patched, positive, negative, latent = apply(**one_turn)
    downstream = patched.clone()
    downstream.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "another pack", count)
    result = ksampler(downstream, positive, negative, latent)
    assert len(calls) == 2
    assert torch.equal(result, ksampler(patched, positive, negative, latent))


def test_a_weight_patch_reaches_the_memory_forward(apply, ksampler, one_turn) -> None:
    key = "diffusion_model.blocks.0.ffn.0.weight"
    patched, positive, negative, latent = apply(**one_turn)
    lora = patched.clone()
    weight = patched.model.diffusion_model.blocks[0].ffn[0].weight
    assert lora.add_patches({key: ("diff", (torch.randn_like(weight),))}) == [key]
    assert not torch.equal(
        ksampler(lora, positive, negative, latent), ksampler(patched, positive, negative, latent)
    )


def test_clean_tokens_are_made_once_a_run(apply, ksampler, one_turn, monkeypatch) -> None:
    from memory_v2v.nodes.host.patch import memory_run

    calls = []
    real = memory_run.tokenize_clean
    monkeypatch.setattr(memory_run, "tokenize_clean", lambda *args: calls.append(1) or real(*args))
    patched, positive, negative, latent = apply(**one_turn)
    ksampler(patched, positive, negative, latent, steps=3)
    ksampler(patched, positive, negative, latent, steps=3)
    assert len(calls) == 2


def test_memory_estimate_counts_our_tokens(
    apply, ksampler, one_turn, tiny_model, monkeypatch
) -> None:
    shapes = []
    real = type(tiny_model.model).memory_required
    monkeypatch.setattr(
        type(tiny_model.model),
        "memory_required",
        lambda self, shape, **given: shapes.append(tuple(shape)) or real(self, shape, **given),
    )
    patched, positive, negative, latent = apply(**one_turn)
    ksampler(patched, positive, negative, latent)
    layout = plan_layout(3, 16, 16, True, (3, 3), (4, 8))
    growth = layout.num_tokens / layout.num_target_tokens
    assert shapes[0] == (2, 16, math.ceil(3 * growth), 16, 16)


def test_two_variants_have_their_own_noise(apply, ksampler, one_turn) -> None:
    patched, positive, negative, latent = apply(**one_turn, batch_size=2)
    first, second = ksampler(patched, positive, negative, latent)
    assert first.shape == SHAPE
    assert not torch.allclose(first, second, atol=1e-2)


def test_length_comes_from_the_path_and_size_from_memory_without_a_source(
    apply, ksampler, examples
) -> None:
    path = examples.path("pan_left", num_frames=5)
    patched, positive, negative, latent = apply(plan=examples.plan(side=12), target_camera=path)
    assert latent["samples"].shape == (1, 16, 5, 12, 12)
    assert ksampler(patched, positive, negative, latent).shape == (1, 16, 5, 12, 12)


def test_a_first_turn_without_memory_needs_no_plan(apply, ksampler, one_turn) -> None:
    empty_plan = replace(
        one_turn["plan"], retrieval=replace(one_turn["plan"].retrieval, ranked=()), kernels=()
    )
    results = []
    for plan in (None, empty_plan):
        patched, positive, negative, latent = apply(**{**one_turn, "plan": plan})
        results.append(ksampler(patched, positive, negative, latent))
    assert empty_plan.merging is not None
    assert torch.equal(*results)


def test_the_node_says_mode_memories_and_an_assumed_camera(comfy_api, tiny_model, one_turn) -> None:
    from memory_v2v.nodes.sampling import ApplyMemory

    one_turn["source_camera"] = None
    output = comfy_api.run_node(ApplyMemory, model=tiny_model, **one_turn)
    (text,) = output.ui.as_dict()["text"]
    assert text == (
        "built-in: tiny, trained mode\nmemories: turn 1 at 1x4x4, turn 2 at 1x8x8\n"
        "the source's camera is unknown and taken as static"
    )


def test_prompts_pass_through_and_are_read(apply, ksampler, one_turn, prompt) -> None:
    model, positive, negative, latent = apply(**one_turn, positive=prompt)
    assert positive is prompt
    assert negative[0][0].abs().max() == 0
    assert not torch.equal(
        ksampler(model, prompt, negative, latent), ksampler(model, negative, negative, latent)
    )


def test_a_base_that_reads_prompts_asks_for_them(apply, bare) -> None:
    with pytest.raises(
        ValueError, match="is not connected, but .* reads prompts; connect CLIP Text Encode"
    ):
        apply(model=bare)


def test_a_base_without_camera_weights_takes_no_path(apply, bare, prompt, one_turn) -> None:
    with pytest.raises(
        ValueError,
        match="source_camera got a path, but WAN21 of 3 blocks of 64 has no camera weights",
    ):
        apply(model=bare, positive=prompt, negative=prompt, **one_turn)


def test_a_source_without_a_path_for_the_turn_is_refused(apply, one_turn) -> None:
    with pytest.raises(
        ValueError, match="target_camera is not connected, wanted the path of this turn"
    ):
        apply(**{**one_turn, "target_camera": None})


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_path_of_another_length_is_refused(apply, one_turn, examples, which: str) -> None:
    longer = examples.path("pan_left", num_frames=4)
    with pytest.raises(
        ValueError, match=f"path of the {which} got 4 frames, wanted 3; set num_frames"
    ):
        apply(**{**one_turn, f"{which}_camera": longer})


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (
            torch.zeros(1, 4, 16, 16),
            r"source got a latent of shape \(1, 4, 16, 16\), wanted \(1, 16, frames",
        ),
        (torch.zeros(2, 16, 3, 16, 16), "source got 2 videos, wanted 1"),
        (torch.full((1, 16, 3, 16, 16), math.nan), "source got NaN or infinity, wanted finite"),
    ],
)
def test_a_source_that_is_not_one_finite_video_is_refused(
    apply, one_turn, samples, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        apply(**{**one_turn, "source": {"samples": samples}})


def test_memories_of_another_size_or_model_are_refused(apply, one_turn, examples) -> None:
    with pytest.raises(
        ValueError, match=r"has latents of \(16, 24, 24\) .* wanted \(16, 16, 16\) as the source"
    ):
        apply(**{**one_turn, "plan": examples.plan(side=24)})
    foreign = replace(examples, model_name="Wan2.1")
    with pytest.raises(
        ValueError, match="made by 'Wan2.1', wanted 'built-in: tiny'.*start a new cache"
    ):
        apply(**{**one_turn, "plan": foreign.plan()})


def test_another_latent_at_the_sampler_is_refused(apply, ksampler, one_turn) -> None:
    patched, positive, negative, _ = apply(**one_turn)
    with pytest.raises(
        ValueError, match=r"sampler's latent got \(16, 3, 24, 24\) .* wanted \(16, 3, 16, 16\)"
    ):
        ksampler(patched, positive, negative, {"samples": torch.zeros(1, 16, 3, 24, 24)})


def test_area_conditioning_is_refused(apply, ksampler, one_turn) -> None:
    patched, positive, negative, latent = apply(**one_turn)
    area = [[positive[0][0], {"area": (8, 8, 0, 0), "strength": 1.0}]]
    with pytest.raises(
        ValueError, match="got a piece .*disconnect area conditioning and context windows"
    ):
        ksampler(patched, area, negative, latent)


def test_conditioning_that_memory_has_no_place_for_is_refused(apply, ksampler, one_turn) -> None:
    patched, positive, negative, latent = apply(**one_turn)
    reference = [[positive[0][0], {"reference_latents": [torch.zeros(1, *SHAPE)]}]]
    with pytest.raises(ValueError, match="got the conditioning 'reference_latent' beside memory"):
        ksampler(patched, reference, negative, latent)


def test_every_input_and_output_is_explained(comfy_api) -> None:
    from memory_v2v.nodes.loading import LoadMemoryV2VModel
    from memory_v2v.nodes.sampling import ApplyMemory, MemoryV2VSampler

    for node in (LoadMemoryV2VModel, ApplyMemory, MemoryV2VSampler):
        schema = node.define_schema()
        assert schema.category.startswith("Memory-V2V/")
        assert schema.description
        assert schema.display_name
        assert all(item.tooltip for item in (*schema.inputs, *schema.outputs)), schema.node_id
        json.dumps(node.GET_NODE_INFO_V1())


def test_an_adapter_beside_a_bare_base_equals_the_model_that_holds_it(
    apply, bare, tiny_model, ksampler, one_turn, prompt, examples
) -> None:
    from memory_v2v.nodes.host.models.attachment import LoadedAdapter, adapter_of, base_info

    held = adapter_of(tiny_model)
    state = {name: value.clone() for name, value in held.state_dict().items()}
    adapter = LoadedAdapter("mine", held.config, state)
    foreign = {
        **one_turn,
        "plan": replace(examples, model_name=f"{base_info(bare).model_name} with mine").plan(),
    }
    native = replace(examples, model_name=base_info(tiny_model).model_name).plan()
    results = []
    for model, given in (
        (bare, {**foreign, "adapter": adapter}),
        (tiny_model, {**one_turn, "plan": native}),
    ):
        patched, *conditioning, latent = apply(
            model=model, positive=prompt, negative=prompt, **given
        )
        results.append(ksampler(patched, *conditioning, latent))
    assert results[0].abs().max() > 0.1
    assert torch.equal(*results)


def test_an_adapter_for_another_base_is_refused(apply, bare, prompt) -> None:
    from memory_v2v.nodes.host.models.attachment import LoadedAdapter

    adapter = LoadedAdapter("other", AdapterConfig(dim=1536, num_blocks=30, in_channels=16), {})
    with pytest.raises(ValueError, match="1536"):
        apply(model=bare, positive=prompt, negative=prompt, adapter=adapter)
