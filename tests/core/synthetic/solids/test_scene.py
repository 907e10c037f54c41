"""The tensors of a scene."""

import math
import random

import pytest
import torch
from instruments.solid_scenes import (
    BLUE,
    OUTDOORS,
    RED,
    ROOM,
    ball,
    fullness,
    made_scene,
    scene_of,
    standing,
)

from memv2v_core.synthetic.solids.scene import SOLID_KINDS, Motion, Solid, Thing


def test_solids_stand_by_kind_and_keep_their_things_place() -> None:
    """The project's order is ellipsoid, box, cone, card."""
    box = Solid("box", (0.0, -0.5, 0.0), (0.5, 0.5, 0.5), BLUE)
    top = ball((1.0, -1.5, 0.0), 0.2)
    thing = Thing("post", (box, top), (2.0, 1.0, 3.0), math.pi / 2, 0.7)
    scene = scene_of(thing, standing(ball((0.0, 0.0, 0.0))))
    assert scene.num_solids == 3
    assert [SOLID_KINDS[kind] for kind in scene.kind] == ["ellipsoid", "ellipsoid", "box"]
    # A quarter turn takes +X to -Z.
    torch.testing.assert_close(
        scene.centre, torch.tensor([[2.0, -0.5, 2.0], [0.0, 0.0, 0.0], [2.0, 0.5, 3.0]])
    )
    # The first solid of a thing casts its shadow.
    assert scene.shadow.tolist() == pytest.approx([0.0, 0.0, 0.7])
    assert scene.names == ("post", "thing")
    # Paints of the solids, of six walls and of the sky.
    assert len(scene.colour) == len(scene.pattern) == len(scene.frequency) == 3 + 6 + 1
    assert scene.colour[2].tolist() == pytest.approx(BLUE.colour)
    assert scene.sky_id == 9


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_a_solid_fits_into_its_bounding_ball(kind: str) -> None:
    draws = random.Random(kind)
    for _ in range(20):
        size = tuple(draws.uniform(0.1, 2.0) for _ in range(3))
        size = (*size[:2], 0.0) if kind == "card" else size
        solid = Solid(kind, (0.0, 0.0, 0.0), size, RED)
        points = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1))
        points = torch.nn.functional.normalize(points, dim=-1)
        # Beyond the ball nothing is inside; the ball is not needlessly large.
        flat = Solid("box", (0.0, 0.0, 0.0), (*size[:2], 1e-3), RED) if kind == "card" else solid
        assert (fullness(flat, 0.0, 1.001 * solid.reach * points) > 1).all()
        near = fullness(flat, 0.0, 0.8 * solid.reach * points)
        assert kind in ("cone", "card") or near.min() < 1


def test_the_light_is_a_direction() -> None:
    assert made_scene(0).light.norm().item() == pytest.approx(1)
    assert made_scene(0).light[1] < 0  # from above


def test_centres_swing_about_their_place() -> None:
    motion = Motion((1.0, 0.0, -2.0), period=8.0, phase=math.pi / 2)
    scene = scene_of(standing(ball((0.0, 0.0, 5.0)), motion=motion))
    moments = torch.tensor([0, 2, 4, 8])
    expected = [[1.0, 0, 3], [0, 0, 5], [-1, 0, 7], [1, 0, 3]]
    torch.testing.assert_close(
        scene.centres(moments)[:, 0], torch.tensor(expected), atol=1e-5, rtol=0
    )


def test_a_scene_in_float64_is_the_same() -> None:
    scene = scene_of(standing(ball((0.0, 0.0, 4.0))), extents=OUTDOORS)
    double = scene.to(dtype=torch.float64)
    assert double.centre.dtype == double.walls.dtype == torch.float64
    assert double.kind.dtype == double.pattern.dtype == torch.int64
    assert double.names == scene.names
    assert torch.equal(double.centre.float(), scene.centre)
    assert double.walls.isinf().sum() == 5
    assert scene_of(standing(ball((0.0, 0.0, 4.0)))).walls.tolist() == list(ROOM)
