"""Things built of solids."""

import math

import pytest
import torch

from memv2v_core.synthetic.solids.scene import Solid
from memv2v_core.synthetic.solids.things import (
    INDOORS,
    MOVING,
    OUTDOORS,
    make_thing,
    number,
    one_of,
    patterned,
)

NAMES = sorted({*OUTDOORS, *INDOORS, *MOVING})


def made(name: str, seed: int) -> tuple[tuple[Solid, ...], float]:
    return make_thing(name, torch.Generator().manual_seed(seed))


def reach_across(solid: Solid) -> float:
    """How far from the thing's middle a solid reaches over the ground."""
    x, y, z = (abs(part) for part in solid.centre)
    width, _, depth = solid.size
    if solid.kind in ("ellipsoid", "cone"):
        return math.hypot(x, z) + max(width, depth)
    return math.hypot(x + width, z + depth)


@pytest.mark.parametrize("name", NAMES)
def test_a_thing_stands_on_its_foot_and_covers_its_radius(name: str) -> None:
    for seed in range(20):
        solids, radius = made(name, seed)
        bottoms = [solid.centre[1] + solid.size[1] for solid in solids]
        tops = [solid.centre[1] - solid.size[1] for solid in solids]
        # Down is positive: nothing is under its foot, and it stands unless it flies.
        assert max(bottoms) <= 1e-6
        assert max(bottoms) > -1e-6 or name in ("balloon", "kite")
        assert -2.3 < min(tops) < -0.6
        # Parts above the ground may stand out by a fifth of a pose unit.
        assert max(reach_across(solid) for solid in solids) <= radius + 0.21
        assert 0.25 < radius < 0.9


@pytest.mark.parametrize("name", NAMES)
def test_a_things_sizes_and_colours_make_sense(name: str) -> None:
    for seed in range(20):
        for solid in made(name, seed)[0]:
            width, height, depth = solid.size
            assert width > 0
            assert height > 0
            # A cone may end in a tip; a card is flat.
            assert depth > 0 or solid.kind in ("cone", "card")
            for colour in (solid.paint.colour, solid.paint.other):
                assert all(0 <= part <= 1 for part in colour)
            assert solid.paint.frequency > 0


def test_a_generator_makes_the_same_thing_again() -> None:
    for name in NAMES:
        assert made(name, 4) == made(name, 4)
    different = {name for name in NAMES if made(name, 1) != made(name, 2)}
    assert different == set(NAMES)


def test_numbers_and_choices_fill_their_range() -> None:
    draws = torch.Generator().manual_seed(0)
    numbers = [number(2.0, 5.0, draws) for _ in range(300)]
    assert 2 <= min(numbers) < 2.1
    assert 4.9 < max(numbers) < 5
    assert {one_of(("a", "b", "c"), draws) for _ in range(60)} == {"a", "b", "c"}
    paints = [patterned((1.0, 0.0, 0.0), draws) for _ in range(100)]
    assert {paint.pattern for paint in paints} == {"plain", "stripes", "checks", "spots"}
    assert all(6 <= paint.frequency <= 11 for paint in paints)
