"""Frozen weights of a few blocks on the device at a time."""

import pytest
import torch
from instruments.training_examples import random_example, random_noising

from memv2v_core.training.launch import Built
from memv2v_core.training.network.residence import Residence

pytestmark = pytest.mark.slow

LAYERS = 5
CPU = torch.device("cpu")


class Watched(Residence):
    """Blocks that are not resident hold NaN, so that a use of them shows."""

    def __init__(self, blocks: list[torch.nn.Module], num_resident: int) -> None:
        super().__init__(blocks, num_resident, CPU)
        self.most = self.brought = 0
        for block_idx in range(len(blocks)):
            self._poison(block_idx)

    def bring(self, block_idx: int) -> None:
        before = set(self.resident)
        super().bring(block_idx)
        self.brought += block_idx not in before
        self.most = max(self.most, len(self.resident))
        for gone in before - set(self.resident):
            self._poison(gone)

    def _poison(self, block_idx: int) -> None:
        for parameter, stored in self._home[block_idx]:
            parameter.data = torch.full_like(stored, torch.nan)


def step_of(built: Built) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of one example, and every gradient."""
    for weight in built.weights.values():
        weight.grad = None
    example = random_example(built.model.base_info)
    loss = built.model.loss(example, random_noising(example))
    loss.backward()
    return loss.item(), {name: weight.grad.clone() for name, weight in built.weights.items()}


@pytest.mark.parametrize("num_resident", [1, 2, LAYERS])
def test_gradients_are_equal_and_no_more_blocks_than_allowed_are_resident(make, num_resident: int):
    built = make(f"base.model.num_layers={LAYERS}", "optim.has_checkpointing=true")
    built.model.set_checkpointing(True)
    loss, wanted = step_of(built)
    residence = Watched(list(built.model.blocks), num_resident)
    built.model.view.residence = residence
    for _ in range(2):
        found_loss, found = step_of(built)
        assert found_loss == loss
        assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())
    assert residence.most == num_resident
    # Each block comes once forwards and once backwards, less what is still there.
    passes = 2 * 2
    turns = passes * (LAYERS - num_resident) + num_resident
    print(f"\n{num_resident} of {LAYERS} blocks resident: {residence.brought} loads in 2 steps")
    assert residence.brought == turns


def test_trained_weights_stay_where_they_are(make):
    built = make()
    places = {name: weight.data_ptr() for name, weight in built.weights.items()}
    residence = Residence(list(built.model.blocks), 1, CPU)
    for block_idx in range(3):
        residence.bring(block_idx)
        assert residence.resident == (block_idx,)
    assert {name: weight.data_ptr() for name, weight in built.weights.items()} == places


def test_no_resident_block_is_refused(make):
    with pytest.raises(ValueError, match="resident_blocks got 0, wanted at least 1"):
        Residence(list(make().model.blocks), 0, CPU)
