"""Our forward on what diffusers' LucyEditPipeline gives its DiT: source on the channel axis, a
timestep a token.
"""

import pytest
import torch

from memv2v_core.model.diffusers_view import DiffusersView
from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.model.memory_model import memory_forward

NUM_TOKENS = 3 * 2 * 3


def our_output(run, call: int, timestep: torch.Tensor) -> torch.Tensor:
    given, _ = run.calls[call]
    context = given["encoder_hidden_states"]
    return memory_forward(
        DiffusersView(run.dit), None, given["hidden_states"], timestep, context, MemoryInputs()
    )


def test_the_pipeline_gives_noise_then_the_normalised_source_and_one_time_to_every_token(
    lucyedit_run,
):
    assert len(lucyedit_run.calls) == 4  # prompt and negative prompt, two steps
    pixels = 2 * lucyedit_run.video.movedim(1, 2) - 1
    with torch.no_grad():
        encoded = lucyedit_run.vae.encode(pixels).latent_dist.mode()
    mean, std = (
        torch.linspace(-1, 1, 48).view(48, 1, 1, 1),
        torch.linspace(0.5, 2, 48).view(48, 1, 1, 1),
    )
    for call, (given, output) in enumerate(lucyedit_run.calls):
        assert given["hidden_states"].shape == (1, 96, 3, 4, 6)
        assert output.shape == (1, 48, 3, 4, 6)
        torch.testing.assert_close(given["hidden_states"][:, 48:], (encoded - mean) / std)
        time = lucyedit_run.calls[2 * (call // 2)][0]["timestep"][0, 0]
        assert torch.equal(given["timestep"], time.expand(1, NUM_TOKENS))
    first, second = (lucyedit_run.calls[call][0]["timestep"][0, 0].item() for call in (0, 2))
    assert first == 1000
    assert 0 < second < 1000


@pytest.mark.parametrize("call", range(4))
def test_our_forward_equals_the_pipelines_call_of_its_dit(lucyedit_run, call: int):
    given, expected = lucyedit_run.calls[call]
    assert expected.std() > 0.1
    torch.testing.assert_close(
        our_output(lucyedit_run, call, given["timestep"]), expected, atol=1e-4, rtol=0
    )


def test_one_timestep_a_row_or_a_frame_is_the_same_as_one_a_token(lucyedit_run):
    given, expected = lucyedit_run.calls[2]
    row = given["timestep"][:, 0]
    for timestep in (row, row[:, None].expand(1, 3)):
        torch.testing.assert_close(
            our_output(lucyedit_run, 2, timestep), expected, atol=1e-4, rtol=0
        )


def test_times_that_differ_from_token_to_token_are_told_to_their_tokens(lucyedit_run):
    given, _ = lucyedit_run.calls[0]
    timestep = torch.linspace(0, 1000, NUM_TOKENS)[None]
    expected = lucyedit_run.dit.forward(
        given["hidden_states"], timestep, given["encoder_hidden_states"]
    ).sample
    torch.testing.assert_close(our_output(lucyedit_run, 0, timestep), expected, atol=1e-4, rtol=0)
