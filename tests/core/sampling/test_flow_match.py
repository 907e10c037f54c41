import pytest
import torch

from memv2v_core.sampling.flow_match import sample_euler, shifted_sigmas

# From ReCamMaster's diffsynth/schedulers/flow_match.py, as wan_video_recammaster.py sets it up: the
# scheduler `FlowMatchScheduler(shift=5, sigma_min=0.0, extra_one_step=True)` after
# `set_timesteps(50, shift=5.0)`. Its sigmas:
RECAMMASTER_SIGMAS = [
    1.0, 0.995935, 0.991735, 0.987395, 0.982906, 0.978261, 0.973451, 0.968468, 0.963303,
    0.957944, 0.952381, 0.946602, 0.940594, 0.934343, 0.927835, 0.921053, 0.913979, 0.906593,
    0.898876, 0.890805, 0.882353, 0.873494, 0.864197, 0.85443, 0.844156, 0.833333, 0.821918,
    0.809859, 0.797101, 0.783582, 0.769231, 0.753968, 0.737705, 0.720339, 0.701754, 0.681818,
    0.660377, 0.637255, 0.612245, 0.585106, 0.555556, 0.523256, 0.487805, 0.448718, 0.405405,
    0.357143, 0.30303, 0.241935, 0.172414, 0.092593,
]  # fmt: skip
# Its timesteps:
RECAMMASTER_TIMESTEPS = [
    1000.0, 995.935, 991.735, 987.395, 982.906, 978.261, 973.451, 968.469, 963.303,
    957.944, 952.381, 946.602, 940.594, 934.343, 927.835, 921.053, 913.979, 906.593,
    898.876, 890.805, 882.353, 873.494, 864.198, 854.43, 844.156, 833.333, 821.918,
    809.859, 797.102, 783.582, 769.231, 753.968, 737.705, 720.339, 701.754, 681.818,
    660.377, 637.255, 612.245, 585.106, 555.556, 523.256, 487.805, 448.718, 405.405,
    357.143, 303.03, 241.935, 172.414, 92.593,
]  # fmt: skip
# What its `step((t / 1000) ** 2 + 0.1 * x, t, x)` makes of x = 1 over all timesteps t:
RECAMMASTER_SAMPLE = 0.582584


def noise(rows: int = 2) -> torch.Tensor:
    return torch.randn(
        rows, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


def test_fifty_steps_at_shift_5_are_recammasters():
    sigmas = shifted_sigmas(50, 5.0)
    assert sigmas.shape == (51,)
    assert sigmas.dtype == torch.float64
    assert sigmas[-1] == 0
    torch.testing.assert_close(
        sigmas[:-1], torch.tensor(RECAMMASTER_SIGMAS).double(), atol=1e-6, rtol=0
    )


def test_fifty_euler_steps_are_recammasters():
    told: list[float] = []

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        told.append(timestep.item())
        return (timestep / 1000) ** 2 + 0.1 * x

    sampled = sample_euler(velocity, torch.ones(1), shifted_sigmas(50, 5.0))
    assert sampled.item() == pytest.approx(RECAMMASTER_SAMPLE, abs=1e-6)
    assert told == pytest.approx(RECAMMASTER_TIMESTEPS, abs=1e-3)


def test_no_shift_means_even_steps():
    assert shifted_sigmas(4, 1.0).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_levels_fall_from_one_to_zero_and_shift_moves_them_towards_noise():
    low, high = shifted_sigmas(12, 3.0), shifted_sigmas(12, 8.0)
    for sigmas in (low, high):
        assert sigmas[0] == 1
        assert sigmas[-1] == 0
        assert (sigmas.diff() < 0).all()
    assert (high[1:-1] > low[1:-1]).all()


@pytest.mark.parametrize(("num_steps", "shift"), [(1, 1.0), (7, 3.0), (50, 5.0)])
def test_euler_reproduces_a_straight_flow_exactly(num_steps: int, shift: float):
    start, end = noise(), torch.full((2, 4, 2, 3, 3), 0.3, dtype=torch.float64)
    sampled = sample_euler(lambda x, timestep: start - end, start, shifted_sigmas(num_steps, shift))
    torch.testing.assert_close(sampled, end, atol=1e-12, rtol=0)


def test_euler_follows_a_linear_ode_step_by_step():
    sigmas = shifted_sigmas(5, 3.0)
    sampled = sample_euler(lambda x, timestep: 0.5 * x, noise(), sigmas)
    factor = torch.prod(1 + 0.5 * sigmas.diff())
    torch.testing.assert_close(sampled, noise() * factor)


def test_the_network_is_told_a_thousand_times_sigma_for_every_row():
    told: list[torch.Tensor] = []

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        told.append(timestep)
        return torch.zeros_like(x)

    sample_euler(velocity, noise(3), shifted_sigmas(4, 1.0))
    assert [timestep.tolist() for timestep in told] == [
        [1000.0] * 3,
        [750.0] * 3,
        [500.0] * 3,
        [250.0] * 3,
    ]


def test_impossible_schedules_are_refused():
    with pytest.raises(ValueError, match="num_steps got 0, wanted at least 1"):
        shifted_sigmas(0, 3.0)
    with pytest.raises(ValueError, match="shift got -1, wanted more than 0"):
        shifted_sigmas(4, -1)
