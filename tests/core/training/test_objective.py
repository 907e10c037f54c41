"""Noise levels, their weights, and the rectified-flow loss."""

import math

import pytest
import torch

from memv2v_core.model.memory_inputs import MemoryInputs
from memv2v_core.training import objective
from memv2v_core.training.config.trained import OptimConfig
from memv2v_core.training.data.example import Example
from memv2v_core.training.objective import (
    Noising,
    bell_weights,
    draw_noising,
    draw_sigmas,
    flow_matching_loss,
)
from memv2v_core.training.seeds import seeded


def rows(count: int) -> list[torch.Generator]:
    return [seeded(0, "row", number) for number in range(count)]


def levels_of(shift: float) -> list[float]:
    """ReCamMaster's 1000 levels: 1, 999/1000 ... 1/1000, shifted."""
    even = [(1000 - i) / 1000 for i in range(1000)]
    return [shift * level / (1 + (shift - 1) * level) for level in even]


def test_levels_lie_between_clean_and_noise_and_shift_moves_them_towards_noise():
    plain, shifted = (draw_sigmas("logit_normal", shift, rows(2000)) for shift in (1.0, 3.0))
    for sigmas in (plain, shifted):
        assert sigmas.shape == (2000,)
        assert sigmas.min() > 0
        assert sigmas.max() < 1
    assert plain.median().item() == pytest.approx(0.5, abs=0.03)
    assert (shifted > plain).all()
    torch.testing.assert_close(shifted, 3 * plain / (1 + 2 * plain))


def test_uniform_levels_are_recammasters_thousand():
    sigmas = draw_sigmas("uniform", 5.0, rows(3000))
    levels = torch.tensor(levels_of(5.0), dtype=torch.float64)
    nearest = (sigmas.double()[:, None] - levels).abs().min(dim=1)
    assert nearest.values.max() < 1e-6
    assert sigmas.max() <= 1
    assert sigmas.min() > 0
    # Each tenth of the levels is drawn equally often.
    tenths = torch.bincount(nearest.indices // 100, minlength=10) / 3000
    assert tenths.tolist() == pytest.approx(10 * [0.1], abs=0.03)


@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_the_bell_is_recammasters_training_weight(shift: float):
    """set_timesteps of its scheduler, written out: y = exp(-2 ((t - 500) / 1000)^2), less its
    lowest value, with a mean of 1 over the 1000 levels.
    """
    levels = levels_of(shift)
    y = [math.exp(-2 * ((1000 * level - 500) / 1000) ** 2) for level in levels]
    above = [value - min(y) for value in y]
    wanted = [1000 * value / sum(above) for value in above]
    found = bell_weights(torch.tensor(levels, dtype=torch.float64), shift)
    difference = (found - torch.tensor(wanted, dtype=torch.float64)).abs().max().item()
    print(f"\nshift {shift}: weights from {min(wanted):.3f} to {max(wanted):.3f}, {difference:.1e}")
    assert difference < 1e-9
    assert found.mean().item() == pytest.approx(1)


def test_the_bell_has_these_values():
    """At shift 5, from the lines of the test above."""
    found = bell_weights(torch.tensor([1.0, 0.9, 0.5, 0.1]), 5.0)
    assert found.tolist() == pytest.approx([0.0, 0.631246, 2.076404, 0.631246], abs=1e-5)


def test_rows_have_a_level_a_weight_and_noise_of_their_own():
    config = OptimConfig(steps=1, sigmas="uniform", weighting="bell", shift=5.0)
    target = torch.ones(3, 4, 2, 6, 6)
    target[:, 3] = 0
    batch = draw_noising(target, config, rows(3))
    torch.testing.assert_close(batch.weights, bell_weights(batch.sigmas, 5.0))
    assert len(set(batch.sigmas.tolist())) == 3
    assert batch.noise[:, 3].abs().max() == 0
    assert batch.noise[:, :3].std().item() == pytest.approx(1, abs=0.1)
    for number in range(3):
        alone = draw_noising(target[:1], config, [seeded(0, "row", number)])
        assert torch.equal(alone.noise[0], batch.noise[number])
        assert alone.sigmas[0] == batch.sigmas[number]
    even = draw_noising(target, OptimConfig(steps=1), rows(3))
    assert even.weights.tolist() == [1, 1, 1]


def loss_of(
    monkeypatch: pytest.MonkeyPatch, weights: torch.Tensor, weight: torch.Tensor | None
) -> tuple[float, dict]:
    """The loss of a network that is wrong by 0.5 in row 0 and by 1 in row 1, and what it saw."""
    generator = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 2, 4, 1, 3, 3, generator=generator)
    sigmas, seen = torch.tensor([0.25, 0.75]), {"clean": clean, "noise": noise}
    wrong = torch.tensor([0.5, 1.0]).view(2, 1, 1, 1, 1)

    def forward(backbone, adapter, latent, timestep, context, inputs, probe):
        seen.update(latent=latent, timestep=timestep)
        return noise - clean + wrong

    monkeypatch.setattr(objective, "memory_forward", forward)
    example = Example(clean, MemoryInputs(), weight=weight)
    noising = Noising(sigmas, weights, noise)
    loss = flow_matching_loss(None, None, example, torch.zeros(2, 1, 1), noising)
    return loss.item(), seen


def test_the_network_sees_the_noisy_target_and_is_asked_for_noise_minus_clean(
    monkeypatch: pytest.MonkeyPatch,
):
    loss, seen = loss_of(monkeypatch, torch.ones(2), None)
    assert loss == pytest.approx((0.25 + 1) / 2)
    assert seen["timestep"].tolist() == [250.0, 750.0]
    clean, noise, latent = seen["clean"], seen["noise"], seen["latent"]
    torch.testing.assert_close(latent[0], 0.75 * clean[0] + 0.25 * noise[0])
    torch.testing.assert_close(latent[1], 0.25 * clean[1] + 0.75 * noise[1])


def test_rows_count_by_the_weight_of_their_level(monkeypatch: pytest.MonkeyPatch):
    loss, _ = loss_of(monkeypatch, torch.tensor([2.0, 0.5]), None)
    assert loss == pytest.approx((2 * 0.25 + 0.5 * 1) / 2)


def test_weights_of_errors_are_relative_to_their_mean_in_the_row(monkeypatch: pytest.MonkeyPatch):
    weight = torch.zeros(2, 4, 1, 3, 3)
    weight[:, 0] = 7
    weight[1, 1] = 3
    loss, _ = loss_of(monkeypatch, torch.ones(2), weight)
    assert loss == pytest.approx((0.25 + 1) / 2)
