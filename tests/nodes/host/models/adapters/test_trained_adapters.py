"""Adapters of format 2 on a MODEL: ComfyUI's native sampling against the diffusers view of the
changed base.

The changes are large: self-attention differs by half of its own size.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from instruments.adapter_files import Weights, random_adapter_file
from instruments.entry_files import with_content
from instruments.published import adapter_of, info_of
from instruments.tiny_wan import DIM, FFN_DIM, NUM_BLOCKS, lora_weights, wan_weights

from memv2v_core.model.adapter import AdapterConfig, MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.weights.adapter_file import AdapterFile, save_adapter_file
from memv2v_core.weights.base_changes import apply_base_changes
from memv2v_core.weights.checkpoint import save_adapter, to_diffusers_names
from memv2v_core.weights.wan_shapes import WanSizes, measured_sizes

NOVEL_VIEW = AdapterConfig(
    DIM,
    NUM_BLOCKS,
    16,
    clean_timestep="zero",
    attention="one_way",
    clean_reads_text=False,
    has_base_tokenizer=True,
    num_latent_frames=3,
)
# Memories of an editor as in the paper: edits alone, in reversed order.
EDITOR = replace(
    NOVEL_VIEW,
    in_channels=96,
    has_cameras=False,
    clean_reads_text=True,
    memory_order="reversed",
    memories_carry_source=False,
)
FP8 = torch.float8_e4m3fn
CHANNELS = {16: (16, 16), 96: (96, 48)}


@dataclass(frozen=True, eq=False)
class Case:
    """A base in models/diffusion_models, and an adapter for it in models/memv2v."""

    base: str
    weights: Weights
    adapter: str
    file: AdapterFile


def sizes_of(weights: Weights) -> WanSizes:
    return measured_sizes({name: tuple(t.shape) for name, t in weights.items()}, NUM_BLOCKS)


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference."""
    return (first - second).abs().max().item()


@pytest.fixture(scope="module")
def make_case(tiny_wan) -> Any:
    """make_case(config, kind, name): both files of a case."""

    def make(config: AdapterConfig, kind: str, name: str = "") -> Case:
        weights = wan_weights(*CHANNELS[config.in_channels])
        base = tiny_wan.save(weights, f"base_of_{config.in_channels}.safetensors")
        folder = tiny_wan.comfy_api.base_dir / "models" / "memv2v"
        folder.mkdir(exist_ok=True)
        name = (name or f"{kind}_{config.in_channels}") + ".safetensors"
        file = random_adapter_file(config, sizes_of(weights), kind, weights)
        save_adapter_file(folder / name, file)
        return Case(base, weights, name, file)

    return make


@pytest.fixture(scope="module")
def novel_view(make_case) -> Case:
    return make_case(NOVEL_VIEW, "lora")


def load(case: Case) -> Any:
    from memory_v2v.nodes.host.models.adapters import load_adapter

    return load_adapter(case.adapter)


def turn_of(wan: Any, model: Any, case: Case, **changes: Any) -> Any:
    """`model` after ApplyMemory with the case's adapter, a source and two memories."""
    given = {"adapter": load(case), **changes}
    if case.file.config.has_cameras:
        wan = replace(wan, adapter=given["adapter"])
        return wan.turn(model, plan=wan.plan(model, merging=MergeConfig()), **given)
    from memory_v2v.nodes.host.models.attachment import with_adapter

    name = info_of(with_adapter(model, given["adapter"])).model_name
    plan = wan.plan(wan.load(), merging=MergeConfig())
    ranked = []
    for i, item in enumerate(plan.retrieval.ranked):
        # These memories have no source: they need none.
        entry = with_content(replace(item.entry, model_name=name), latent=wan.video(20 + i, 3, 48))
        ranked.append(replace(item, entry=entry))
    plan = replace(plan, retrieval=replace(plan.retrieval, ranked=tuple(ranked)))
    source = {"samples": wan.video(3, 3, 48)[None]}
    return wan.turn(
        model, plan=plan, source=source, source_camera=None, target_camera=None, **given
    )


@torch.inference_mode()
def expected(turn: Any, case: Case, base: Weights, noise: torch.Tensor) -> torch.Tensor:
    """The first prediction of a turn by the diffusers view of `base`, without ComfyUI."""
    from memory_v2v.nodes.host.sampling.turns import connected_turn

    given = turn.inputs
    asked = connected_turn(
        turn.model, given["source"], given["plan"], given["source_camera"], given["target_camera"]
    )
    inputs = asked.inputs(turn.model.model.process_latent_in)
    assert (inputs.attention, inputs.clean_timestep) == ("one_way", "zero")
    in_channels, out_channels = CHANNELS[case.file.config.in_channels]
    dit = WanTransformer3DModel(
        num_attention_heads=DIM // 128,
        ffn_dim=FFN_DIM,
        num_layers=NUM_BLOCKS,
        in_channels=in_channels,
        out_channels=out_channels,
    )
    dit.load_state_dict(to_diffusers_names(base))
    adapter = MemoryAdapter(case.file.config)
    adapter.load_state_dict(case.file.state)
    latent = noise
    if in_channels != out_channels:
        source = turn.model.model.process_latent_in(given["source"]["samples"])
        latent = torch.cat((noise, source), dim=1)
    velocity = memory_forward(
        DiffusersView(dit.eval()),
        adapter.eval(),
        latent,
        torch.tensor([1000.0]),
        turn.positive[0][0],
        inputs,
    )
    return noise - velocity


def first_prediction(wan: Any, turn: Any, model: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """The result of one step of the native KSampler, and its noise."""
    import comfy.sample

    noise = comfy.sample.prepare_noise(turn.latent["samples"], 5)
    return wan.sample(turn, model, steps=1), noise


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("config", [NOVEL_VIEW, EDITOR], ids=["novel_view", "editor"])
def test_native_sampling_equals_the_diffusers_view_of_the_changed_base(
    tiny_wan, make_case, config: AdapterConfig, kind: str
) -> None:
    case = make_case(config, kind)
    model = tiny_wan.load(case.base)
    turn = turn_of(tiny_wan, model, case)
    got, noise = first_prediction(tiny_wan, turn)
    changed = apply_base_changes(case.weights, case.file.base_changes)
    assert distance(got, expected(turn, case, changed, noise)) <= 1e-4
    # The changes matter, and leave no trace in the base.
    without = expected(turn, case, case.weights, noise)
    assert distance(got, without) > 0.1
    alone = turn_of(tiny_wan, model, case, adapter=replace(load(case), base_changes={}))
    assert distance(first_prediction(tiny_wan, alone)[0], without) <= 1e-4


def test_a_lora_beside_it_is_added(tiny_wan, comfy_api, novel_view: Case) -> None:
    name = tiny_wan.save(lora_weights(), "beside.safetensors", "loras")
    known = comfy_api.nodes.LoraLoaderModelOnly
    model = tiny_wan.load(novel_view.base)
    before = turn_of(tiny_wan, tiny_wan.run(known, model, name, 0.6), novel_view)
    got, noise = first_prediction(tiny_wan, before)
    lora = {
        key.removeprefix("diffusion_model."): 0.6 * tensor if "lora_B" in key else tensor
        for key, tensor in lora_weights().items()
    }
    changed = apply_base_changes(novel_view.weights, novel_view.file.base_changes)
    both = apply_base_changes(changed, lora)
    assert distance(got, expected(before, novel_view, both, noise)) <= 1e-4
    after = turn_of(tiny_wan, model, novel_view)
    later, _ = first_prediction(tiny_wan, after, tiny_wan.run(known, after.model, name, 0.6))
    assert distance(got, later) <= 1e-5
    assert distance(got, first_prediction(tiny_wan, after)[0]) > 1e-2


def test_context_windows_see_the_changed_base(tiny_wan, novel_view: Case) -> None:
    turn = turn_of(tiny_wan, tiny_wan.load(novel_view.base), novel_view)
    # One window as long as the clip is the clip.
    windowed = tiny_wan.windows(turn.model)
    assert distance(tiny_wan.sample(turn, windowed), tiny_wan.sample(turn)) <= 1e-5


def test_a_second_adapter_replaces_the_first_with_its_changes(
    tiny_wan, comfy_api, make_case, novel_view: Case
) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    other = make_case(NOVEL_VIEW, "full", "other")
    name = tiny_wan.save(lora_weights(), "kept.safetensors", "loras")
    model = tiny_wan.load(novel_view.base)
    first = with_adapter(model, load(novel_view))
    between = tiny_wan.run(comfy_api.nodes.LoraLoaderModelOnly, first, name, 0.6)
    replaced = turn_of(tiny_wan, between, other)
    alone = turn_of(
        tiny_wan, tiny_wan.run(comfy_api.nodes.LoraLoaderModelOnly, model, name, 0.6), other
    )
    assert info_of(replaced.model) == info_of(alone.model)
    assert info_of(replaced.model).model_name.endswith(" of 256 with other")
    got, wanted = (first_prediction(tiny_wan, turn)[0] for turn in (replaced, alone))
    assert distance(got, wanted) <= 1e-5
    assert distance(got, first_prediction(tiny_wan, turn_of(tiny_wan, model, other))[0]) > 1e-2
    # The first one is a MODEL of its own still.
    again, noise = first_prediction(tiny_wan, turn_of(tiny_wan, first, novel_view))
    changed = apply_base_changes(novel_view.weights, novel_view.file.base_changes)
    assert distance(again, expected(replaced, novel_view, changed, noise)) <= 1e-4


def test_an_adapter_without_changes_takes_away_those_of_the_first(
    tiny_wan, make_case, novel_view: Case, tmp_path: Path
) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    plain = replace(load(novel_view), name="plain", base_changes={}, record=None)
    model = tiny_wan.load(novel_view.base)
    first = with_adapter(model, load(novel_view))
    assert first.patches
    second = with_adapter(first, plain)
    assert second.patches == {}
    assert first.patches
    assert len(second.get_additional_models()) == 1


def test_the_same_adapter_on_the_same_model_has_the_same_weights_for_comfyui(
    tiny_wan, novel_view: Case
) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    model, adapter = tiny_wan.load(novel_view.base), load(novel_view)
    first, second = (with_adapter(model, adapter) for _ in range(2))
    assert first.clone_has_same_weights(second)
    assert not first.clone_has_same_weights(model)
    assert not first.clone_has_same_weights(with_adapter(model, load(novel_view)))


def test_a_base_of_another_shape_is_refused_with_what_differs(tiny_wan, novel_view: Case) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    weights = wan_weights()
    for i in range(NUM_BLOCKS):
        weights[f"blocks.{i}.ffn.0.weight"] = torch.zeros(256, DIM)
        weights[f"blocks.{i}.ffn.0.bias"] = torch.zeros(256)
        weights[f"blocks.{i}.ffn.2.weight"] = torch.zeros(DIM, 256)
    other = tiny_wan.load(tiny_wan.save(weights, "narrow.safetensors"))
    with pytest.raises(ValueError, match=r"'a small Wan', .*\(ffn_dim got 256, wanted 512\)"):
        with_adapter(other, load(novel_view))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_fp8_weights_round_the_changed_base(tiny_wan, make_case, kind: str) -> None:
    """ComfyUI adds the changes to the fp8 weights and rounds each sum to fp8 again, up or down by
    chance.

    Measured, relative to the prediction: this rounding 0.020 (0.014 for changes a tenth as large),
    the rounding of the base itself 0.044; the changes matter 0.23 (lora) and 0.37 (full).
    """
    case = make_case(NOVEL_VIEW, kind)
    turn = turn_of(tiny_wan, tiny_wan.load(case.base, "fp8_e4m3fn"), case)
    assert turn.model.model.diffusion_model.blocks[0].self_attn.q.weight.dtype == FP8
    got, noise = first_prediction(tiny_wan, turn)
    stored = {
        name: tensor if "patch_emb" in name else tensor.to(FP8).float()
        for name, tensor in case.weights.items()
    }
    changed = apply_base_changes(stored, case.file.base_changes)
    exact, without = (expected(turn, case, base, noise) for base in (changed, stored))
    whole = expected(turn, case, apply_base_changes(case.weights, case.file.base_changes), noise)
    size = (noise - whole).norm()
    assert (got - exact).norm() / size < 0.03
    assert (exact - whole).norm() / size < 0.06
    assert (got - whole).norm() / size < 0.07
    assert (without - exact).norm() / size > 0.2


def test_the_loader_nodes_load_and_describe_it(tiny_wan, comfy_api, make_case) -> None:
    from memory_v2v.nodes.loading import LoadMemoryAdapter, LoadMemoryV2VModel

    case = make_case(EDITOR, "lora")
    output = comfy_api.run_node(LoadMemoryAdapter, adapter_name=case.adapter)
    (adapter,) = output.result
    assert (adapter.name, adapter.mode, adapter.config) == ("lora_96", "trained", EDITOR)
    shown = output.ui.as_dict()["text"][0].splitlines()
    assert shown == [
        "lora_96, trained mode",
        "for a base of 3 blocks of 256 with 96 input channels",
        "trained on a small Wan: recipe novel_view, 2000 steps",
        "data: 40 rendered rooms",
        "trained parts: all of it",
        "changes the base's own weights (42 tensors)",
        "one-way attention: source and memories see each other alone, and the prompt",
        "memories in reversed order, without their source",
        "trained with 3 latent frames",
    ]
    output = comfy_api.run_node(LoadMemoryV2VModel, model_name=case.base, adapter=case.adapter)
    model = output.result[0]
    assert info_of(model).model_name.endswith("base_of_96 with lora_96")
    assert not info_of(model).memories_carry_source
    assert adapter_of(model).config == EDITOR
    assert model.patches
    assert f"adapter: {shown[0]}\n{shown[1]}" in output.ui.as_dict()["text"][0]


def test_a_file_of_format_1_loads_as_before(tiny_wan, comfy_api, make_case) -> None:
    from memory_v2v.nodes.host.models.attachment import with_adapter

    config = AdapterConfig(DIM, NUM_BLOCKS, 16)
    folder = comfy_api.base_dir / "models" / "memv2v"
    folder.mkdir(exist_ok=True)
    save_adapter(MemoryAdapter(config), folder / "old.safetensors")
    from memory_v2v.nodes.host.models.adapters import describe_adapter, load_adapter

    adapter = load_adapter("old.safetensors")
    assert (adapter.config, adapter.base_changes, adapter.record) == (config, {}, None)
    model = with_adapter(tiny_wan.load(), adapter)
    assert model.patches == {}
    assert (info_of(model).attention, info_of(model).mode) == ("two_way", "trained")
    assert "two-way attention: all tokens see each other" in describe_adapter(adapter)
