import pytest
import torch

from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.training import objective
from memv2v_core.training.data.example import Example
from memv2v_core.training.objective import draw_sigmas, flow_matching_loss


def test_levels_lie_between_clean_and_noise_and_shift_moves_them_towards_noise():
    plain, shifted = (
        draw_sigmas(2000, shift, torch.Generator().manual_seed(0)) for shift in (1.0, 3.0)
    )
    for sigmas in (plain, shifted):
        assert sigmas.shape == (2000,)
        assert sigmas.min() > 0
        assert sigmas.max() < 1
    assert plain.median().item() == pytest.approx(0.5, abs=0.03)
    assert (shifted > plain).all()
    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))


def test_the_network_sees_the_noisy_target_and_is_asked_for_noise_minus_clean(
    monkeypatch: pytest.MonkeyPatch,
):
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 2, 4, 1, 3, 3, generator=generator)
    sigmas, seen = torch.tensor([0.25, 0.75]), {}

    def forward(backbone, adapter, latent, timestep, context, inputs, probe):
        seen.update(latent=latent, timestep=timestep)
        return noise - clean + 0.5

    monkeypatch.setattr(objective, "memory_forward", forward)
    loss = flow_matching_loss(
        None, None, Example(clean, MemoryInputs()), torch.zeros(2, 1, 1), sigmas, noise
    )
    assert loss.item() == pytest.approx(0.25)
    assert seen["timestep"].tolist() == [250.0, 750.0]
    torch.testing.assert_close(seen["latent"][0], 0.75 * clean[0] + 0.25 * noise[0])
    torch.testing.assert_close(seen["latent"][1], 0.25 * clean[1] + 0.75 * noise[1])
