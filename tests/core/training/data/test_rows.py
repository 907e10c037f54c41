"""A row depends on its own generator alone, and a purpose on its own words alone."""

import torch

from memv2v_core.training.data.rows import row_chances, row_noise, row_normal, row_uniform
from memv2v_core.training.seeds import seeded


def rows(*numbers: int) -> list[torch.Generator]:
    return [seeded(1, "row", 7, number) for number in numbers]


def test_random_numbers_of_a_row_are_the_same_alone_and_in_a_batch():
    like = torch.zeros(3, 2, 4)
    for draw in (
        lambda given: row_noise(like[: len(given)], given),
        row_uniform,
        row_normal,
        lambda given: row_chances(given, 0.5),
    ):
        batch = draw(rows(0, 1, 2))
        assert len(batch) == 3
        assert torch.equal(torch.cat([draw(rows(i)) for i in range(3)]), batch)
        assert torch.equal(draw(rows(2, 0)), batch[[2, 0]])


def test_noise_has_the_type_of_the_latent():
    assert row_noise(torch.zeros(1, 2, dtype=torch.bfloat16), rows(0)).dtype is torch.bfloat16


def test_every_purpose_has_numbers_of_its_own():
    purposes = [("row", 0, 1), ("row", 1, 0), ("structure", 0), ("row", "0", 1)]
    drawn = {torch.rand((), generator=seeded(0, *purpose)).item() for purpose in purposes}
    drawn |= {torch.rand((), generator=seeded(1, "row", 0, 1)).item()}
    assert len(drawn) == 5
    assert len({seeded(0, "row", step).initial_seed() for step in range(5000)}) == 5000


def test_seeds_stay_below_those_of_demonstrations_and_held_out_scenes():
    assert max(seeded(0, "row", step).initial_seed() for step in range(2000)) < 0xD000_0000
    # Of seeded(0, "row", 0), so that runs of other versions go on as they began.
    assert seeded(0, "row", 0).initial_seed() == 2_211_248_716
