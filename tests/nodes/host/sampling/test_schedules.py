"""Which of ComfyUI's schedules gives the noise levels that ReCamMaster was sampled with."""

import pytest
import torch

from memv2v_core.sampling.flow_match import shifted_sigmas


def sigmas_after_shift(comfy_api, shift: float, scheduler: str, num_steps: int) -> torch.Tensor:
    """Noise levels of a native Wan MODEL behind ModelSamplingSD3, as a KSampler makes them."""
    import comfy.samplers
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    from memory_v2v.nodes.loading import load_builtin_model

    with torch.inference_mode():
        (model,) = ModelSamplingSD3().patch(load_builtin_model("novel_view"), shift)
        return comfy.samplers.calculate_sigmas(
            model.get_model_object("model_sampling"), scheduler, num_steps
        )


@pytest.mark.parametrize("num_steps", [50, 40, 25, 20])
def test_simple_is_recammasters_schedule_where_the_steps_divide_a_thousand(
    comfy_api, num_steps: int
):
    sigmas = sigmas_after_shift(comfy_api, 5.0, "simple", num_steps)
    torch.testing.assert_close(sigmas, shifted_sigmas(num_steps, 5.0).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_steps", [30, 12])
def test_simple_is_near_it_elsewhere(comfy_api, num_steps: int):
    error = (
        (sigmas_after_shift(comfy_api, 5.0, "simple", num_steps) - shifted_sigmas(num_steps, 5.0))
        .abs()
        .max()
    )
    assert 1e-3 < error < 3e-3


@pytest.mark.parametrize(
    "scheduler", ["sgm_uniform", "normal", "beta", "linear_quadratic", "ddim_uniform"]
)
def test_no_other_schedule_is(comfy_api, scheduler: str):
    error = (
        (sigmas_after_shift(comfy_api, 5.0, scheduler, 50) - shifted_sigmas(50, 5.0)).abs().max()
    )
    assert error > 0.01
