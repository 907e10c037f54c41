"""A pool of things that are slow to make: what a step draws depends on the step alone."""

import torch

from memv2v_core.training.data.pools import Pool
from memv2v_core.training.seeds import seeded


def pool(seed: int = 0, first: int = 2, size: int = 5) -> Pool[float]:
    return Pool("thing", seed, first, size, lambda g: torch.rand((), generator=g).item())


def drawn(
    things: Pool[float], step: int, count: int = 40, is_held_out: bool = False
) -> list[float]:
    return [things.draw(step, seeded(9, step, i), is_held_out) for i in range(count)]


def test_it_fills_up_by_one_a_step_and_then_replaces_the_oldest():
    things = pool()
    sets = [set(drawn(things, step)) for step in range(8)]
    assert [len(each) for each in sets] == [2, 3, 4, 5, 5, 5, 5, 5]
    for before, after in zip(sets[3:], sets[4:], strict=False):
        assert len(after - before) == 1
        assert len(before - after) == 1
    for before, after in zip(sets[:3], sets[1:4], strict=True):
        assert before < after


def test_a_pool_that_begins_at_a_later_step_is_the_same():
    whole, resumed = pool(), pool()
    for step in range(30):
        drawn(whole, step)
    assert drawn(resumed, 30) == drawn(whole, 30)
    assert drawn(resumed, 31) == drawn(whole, 31)


def test_each_thing_is_made_once_and_forgotten_when_it_leaves():
    made: list[float] = []

    def make(generator: torch.Generator) -> float:
        made.append(torch.rand((), generator=generator).item())
        return made[-1]

    things = Pool("thing", 0, 2, 5, make)
    for step in range(20):
        drawn(things, step)
    assert len(made) == len(set(made)) == 21
    assert len(things._made) <= 5


def test_held_out_things_are_never_in_a_pool():
    things = pool(first=50, size=60)
    held_out = set(drawn(things, 0, 300, is_held_out=True))
    trained = set().union(*(drawn(things, step, 100) for step in range(0, 200, 10)))
    assert len(held_out) > 40
    assert not held_out & trained
    assert set(drawn(things, 0, 300, is_held_out=True)) == held_out


def test_seed_and_name_decide_what_is_in_a_pool():
    assert not set(drawn(pool(seed=1), 0)) & set(drawn(pool(seed=2), 0))
