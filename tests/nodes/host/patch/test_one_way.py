"""One-way attention through ComfyUI's native DiT."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from instruments.tiny_wan import DIM, FFN_DIM, NUM_BLOCKS, wan_weights

from memv2v_core.model.adapter import MemoryAdapter
from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.model.wan_view import WanView
from memv2v_core.weights.checkpoint import to_diffusers_names

NUM_TARGET = 3 * 4 * 8


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def inputs() -> MemoryInputs:
    """A source and two memories without cameras; clean tokens see each other alone."""
    streams = tuple(
        ConditioningStream(role, kernel, noise(1, 16, 3, 8, 16, seed=kernel), indices)
        for role, kernel, indices in (
            ("source", 2, (3, 4, 5)),
            ("memory", 4, (6, 7, 8)),
            ("memory", 8, (6, 7, 8)),
        )
    )
    return MemoryInputs(streams, clean_timestep="zero", attention="one_way", clean_reads_text=False)


def forward(view: Any, adapter: MemoryAdapter, inputs: MemoryInputs, case: int) -> Any:
    """The output and the clean tokens before every block; each case has its own step, prompt and
    target."""
    states: list[torch.Tensor] = []
    with torch.inference_mode():
        out = memory_forward(
            view,
            adapter,
            noise(1, 16, 3, 8, 16, seed=20 + case),
            torch.tensor([900.0 - 700 * case]),
            noise(1, 6, 4096, seed=30 + case),
            inputs,
            probe=lambda _i, _h, sequence: states.append(sequence.x[:, NUM_TARGET:]),
        )
    return out, states


@pytest.fixture
def adapter(tiny_wan) -> MemoryAdapter:
    given = tiny_wan.adapter
    config = replace(given.config, has_rays=False, has_cameras=False)
    adapter = MemoryAdapter(config)
    adapter.load_state_dict({k: given.state[k] for k in adapter.state_dict()})
    return adapter.eval()


@pytest.fixture
def native_view(wan_model):
    """A view of the live DiT; options are ComfyUI's of one call."""
    import comfy.ldm.flux.math
    import comfy.model_management
    from comfy.ldm.modules.attention import optimized_attention

    comfy.model_management.load_models_gpu([wan_model])

    def make(options: dict | None = None) -> WanView:
        return WanView(
            wan_model.model.diffusion_model,
            comfy.model_management.cast_to,
            comfy.ldm.flux.math.apply_rope1,
            optimized_attention,
            {} if options is None else options,
            noise(1, 16, 3, 8, 16),
        )

    return make


def test_clean_tokens_are_the_same_at_every_step_for_every_prompt_and_target(
    native_view, adapter: MemoryAdapter, inputs: MemoryInputs
) -> None:
    def largest_change(inputs: MemoryInputs) -> float:
        first, second = (forward(native_view(), adapter, inputs, case)[1] for case in (0, 1))
        assert len(first) == NUM_BLOCKS
        return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))

    assert largest_change(inputs) <= 1e-6
    assert largest_change(replace(inputs, attention="two_way")) > 1e-3


@pytest.mark.parametrize("reads_text", [False, True])
def test_it_agrees_with_the_diffusers_view(
    native_view, adapter: MemoryAdapter, inputs: MemoryInputs, reads_text: bool
) -> None:
    dit = WanTransformer3DModel(
        num_attention_heads=2, ffn_dim=FFN_DIM, num_layers=NUM_BLOCKS, in_channels=16
    )
    assert dit.config.num_attention_heads * dit.config.attention_head_dim == DIM
    dit.load_state_dict(to_diffusers_names(wan_weights()))
    inputs = replace(inputs, clean_reads_text=reads_text)
    ours, _ = forward(native_view(), adapter, inputs, 0)
    theirs, _ = forward(DiffusersView(dit.eval()), adapter, inputs, 0)
    assert (ours - theirs).abs().max() <= 1e-4
    two_way, _ = forward(native_view(), adapter, replace(inputs, attention="two_way"), 0)
    assert (ours - two_way).abs().max() > 1e-3


def test_without_clean_videos_it_is_the_native_module(
    native_view, adapter: MemoryAdapter, inputs: MemoryInputs
) -> None:
    alone = replace(inputs, streams=())
    one_way, _ = forward(native_view(), adapter, alone, 0)
    assert torch.equal(
        one_way,
        forward(native_view(), adapter, replace(alone, attention="two_way"), 0)[0],
    )


def test_comfyuis_attention_patches_and_overrides_see_it(
    native_view, adapter: MemoryAdapter, inputs: MemoryInputs
) -> None:
    calls: list[tuple[int, int]] = []
    patched: list[dict] = []

    def override(native: Any, query: torch.Tensor, key: torch.Tensor, *args: Any, **kwargs: Any):
        calls.append((query.shape[1], key.shape[1]))
        return native(query, key, *args, **kwargs)

    def patch(given: dict) -> torch.Tensor:
        patched.append({name: tuple(given[name].shape) for name in ("x", "q", "k")})
        return 2 * given["x"]

    plain, states = forward(native_view(), adapter, inputs, 0)
    num_tokens = NUM_TARGET + states[0].shape[1]
    options = {"optimized_attention_override": override, "patches": {"attn1_patch": [patch]}}
    doubled, _ = forward(native_view(options), adapter, inputs, 0)
    num_clean = num_tokens - NUM_TARGET
    # Of each block: the target sees all, clean tokens see each other, the target sees the prompt.
    one_block = [(NUM_TARGET, num_tokens), (num_clean, num_clean), (NUM_TARGET, 6)]
    assert calls == NUM_BLOCKS * one_block
    shape = (1, num_tokens, 2, 128)
    assert patched == NUM_BLOCKS * [{"x": (1, num_tokens, 256), "q": shape, "k": shape}]
    assert (doubled - plain).abs().max() > 1e-3
