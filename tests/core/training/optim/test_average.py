import pytest
import torch
from torch import nn

from memv2v_core.training.optim.average import Average


def weights_of(value: float) -> dict[str, nn.Parameter]:
    return {
        "a": nn.Parameter(torch.full((3,), value)),
        "b": nn.Parameter(torch.full((2, 2), value)),
    }


def test_it_follows_the_weights_faster_at_the_start():
    weights = weights_of(0.0)
    average = Average(weights, 0.99)
    expected = 0.0
    for step in range(1, 1200):
        with torch.no_grad():
            for weight in weights.values():
                weight.fill_(float(step))
        average.follow(step)
        # The decay is (1 + step) / (10 + step) up to 0.99, which it reaches at step 890.
        decay = min(0.99, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.values["a"].tolist() == pytest.approx(3 * [expected], rel=1e-4)
    # Behind by decay / (1 - decay) steps at most.
    assert 1199 - 99 < expected < 1199


def test_a_swap_exchanges_both_and_a_second_swap_puts_them_back():
    weights = weights_of(1.0)
    average = Average(weights, 0.5)
    with torch.no_grad():
        for weight in weights.values():
            weight.fill_(5.0)
    average.swap()
    assert {value.flatten()[0].item() for value in weights.values()} == {1.0}
    assert {value.flatten()[0].item() for value in average.values.values()} == {5.0}
    average.swap()
    assert {value.flatten()[0].item() for value in weights.values()} == {5.0}
    assert {value.flatten()[0].item() for value in average.values.values()} == {1.0}


def test_a_decay_of_zero_makes_no_average():
    weights = weights_of(1.0)
    average = Average(weights, 0.0)
    average.follow(1)
    average.swap()
    assert average.values == {}
    assert weights["a"].tolist() == [1.0, 1.0, 1.0]
