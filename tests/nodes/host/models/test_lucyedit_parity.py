"""LucyEdit's weights in native names, loaded by ComfyUI, on what diffusers' LucyEditPipeline gives
its DiT.
"""

import pytest
import torch
from instruments.tiny_wan import wan_weights

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import ConditioningStream, MemoryInputs
from memv2v_core.model.memory_model import memory_forward
from memv2v_core.model.wan_view import WanView
from memv2v_core.tokens.merging import MergeConfig
from memv2v_core.tokens.positions import temporal_indices


@pytest.fixture(scope="module")
def model(comfy_api):
    import comfy.sd

    return comfy.sd.load_diffusion_model_state_dict(
        wan_weights(96, 48), model_options={"dtype": torch.float32}
    )


@torch.inference_mode()
def native_output(model, given: dict, inputs: MemoryInputs) -> torch.Tensor:
    import comfy.ldm.flux.math
    import comfy.model_management
    from comfy.ldm.modules.attention import optimized_attention

    dit, latent = model.model.diffusion_model, given["hidden_states"]
    view = WanView(
        dit,
        comfy.model_management.cast_to,
        comfy.ldm.flux.math.apply_rope1,
        optimized_attention,
        {},
        latent,
    )
    return memory_forward(
        view, None, latent, given["timestep"], given["encoder_hidden_states"], inputs
    )


def memories(latent: torch.Tensor) -> MemoryInputs:
    """Two earlier edits, each beside its source on the channel axis as the target is."""
    generator = torch.Generator().manual_seed(0)
    indices = temporal_indices("memory", 3, 3)
    streams = tuple(
        ConditioningStream(
            "memory", kernel, torch.randn(latent.shape, generator=generator), indices
        )
        for kernel in (4, 8)
    )
    return MemoryInputs(streams, merging=MergeConfig(pool="memory"))


def test_the_loaded_model_takes_its_source_on_the_channel_axis(comfy_api, model):
    from memory_v2v.nodes.host.models.attachment import base_info

    info = base_info(model)
    assert info.source_placement == "channels"
    assert info.ratios.channels == 48
    assert info.ratios.spatial == 16


@pytest.mark.parametrize("call", range(4))
def test_the_native_view_equals_the_pipelines_call_of_its_dit(
    comfy_api, model, lucyedit_run, call: int
):
    given, expected = lucyedit_run.calls[call]
    torch.testing.assert_close(
        native_output(model, given, MemoryInputs()), expected, atol=1e-4, rtol=0
    )


@torch.inference_mode()
def test_comfyuis_own_call_with_the_source_as_concat_is_the_pipelines(
    comfy_api, model, lucyedit_run
):
    given, expected = lucyedit_run.calls[2]
    noisy, source = given["hidden_states"].split(48, dim=1)
    sigma = given["timestep"][:, 0] / 1000
    context = given["encoder_hidden_states"]
    denoised = model.model.apply_model(
        noisy, sigma, c_concat=source, c_crossattn=context, transformer_options={}
    )
    torch.testing.assert_close(denoised, noisy - sigma * expected, atol=1e-4, rtol=0)


def test_both_views_agree_with_merged_memories(comfy_api, model, lucyedit_run):
    given, without = lucyedit_run.calls[0]
    latent, inputs = given["hidden_states"], memories(given["hidden_states"])
    row, context = given["timestep"][:, 0], given["encoder_hidden_states"]
    expected = memory_forward(DiffusersView(lucyedit_run.dit), None, latent, row, context, inputs)
    assert (expected - without).abs().max() > 1e-2
    got = native_output(model, {**given, "timestep": row}, inputs)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
