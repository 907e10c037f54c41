"""Measures of edited segments on videos whose answers are known."""

import math
from dataclasses import replace

import pytest
import torch

from memv2v_core.evaluation.long_video.clips import film
from memv2v_core.evaluation.metrics.segment_looks import (
    CROP_PX,
    ObjectTrack,
    SceneVideo,
    aligned_crops,
    background_psnr,
    colour_difference,
    difference_among,
    joined_scenes,
    mean_colour,
    object_box,
    segment_look,
    shape_difference,
)
from memv2v_core.synthetic.edits import Edit
from memv2v_core.synthetic.outlines import HATS
from memv2v_core.synthetic.rendering import render_world
from memv2v_core.synthetic.worlds import World, WorldConfig, make_world

SIZE, LENGTH, SEGMENTS = 64, 5, 3
RED, BLUE = (0.85, 0.1, 0.1), (0.1, 0.2, 0.85)


@pytest.fixture(scope="module")
def world() -> World:
    """A ball alone before a calm background, of another colour than those that are given to it."""
    config = WorldConfig(min_objects=2, max_objects=2, texture=0.0, num_clutter=0)
    drawn = make_world(config, torch.Generator().manual_seed(3))
    return replace(
        drawn,
        objects=(replace(drawn.objects[0], kind="ball", radius=0.19, colour=(0.9, 0.9, 0.2)),),
    )


def scene_of(world: World, edit: Edit, frames: range) -> SceneVideo:
    return film(world, edit, frames, SIZE)


def looks_of(world: World, edits: list[Edit]):
    """One segment an edit, each as its edit truly looks."""
    looks = []
    for i, edit in enumerate(edits):
        frames = range(i * LENGTH, (i + 1) * LENGTH)
        looks.append(
            segment_look(render_world(world, frames, SIZE, edit), scene_of(world, edit, frames))
        )
    return looks


def recolour(colour: tuple[float, float, float]) -> Edit:
    return Edit("recolour the ball", 0, "recolour", colour)


def hat(shape: str, colour: tuple[float, float, float] = RED) -> Edit:
    return Edit("put a hat on the ball", 0, "hat", colour, shape)


@pytest.mark.parametrize(
    "edit",
    [recolour(RED), hat("top hat"), Edit("replace the ball", 0, "reshape", BLUE, "cross")],
    ids=lambda e: e.kind,
)
def test_one_edit_throughout_differs_nowhere(world: World, edit: Edit) -> None:
    looks = looks_of(world, [edit] * SEGMENTS)
    colour, shape = difference_among(looks)
    assert colour < 0.03
    assert shape < 0.1
    assert all(look.is_edited for look in looks)


def test_the_colour_is_the_edits_own(world: World) -> None:
    (look,) = looks_of(world, [recolour(RED)])
    assert (
        look.colour / 0.88 - torch.tensor(RED)
    ).abs().max() < 0.08  # 0.88 is the light at the object's centre
    (look,) = looks_of(world, [hat("top hat", BLUE)])
    assert look.colour.argmax() == 2
    assert look.colour[2] > 0.6


def test_other_colours_differ_by_their_distance(world: World) -> None:
    red, blue = looks_of(world, [recolour(RED), recolour(BLUE)])
    distance = 0.88 * (torch.tensor(RED) - torch.tensor(BLUE)).norm().item()
    assert colour_difference(red, blue) == pytest.approx(distance, abs=0.1)
    assert shape_difference(red, blue) < 0.1


@pytest.mark.parametrize("shapes", [(HATS[0], HATS[1]), (HATS[0], HATS[2])])
def test_other_hats_differ_in_shape(world: World, shapes: tuple[str, str]) -> None:
    first, second = looks_of(world, [hat(shapes[0]), hat(shapes[1])])
    assert shape_difference(first, second) > 0.25
    assert colour_difference(first, second) < 0.1


def test_all_pairs_count_alike(world: World) -> None:
    looks = looks_of(world, [recolour(RED), recolour(RED), recolour(BLUE)])
    whole = colour_difference(looks[0], looks[2])
    assert difference_among(looks)[0] == pytest.approx(2 * whole / 3, abs=0.03)
    assert math.isnan(difference_among([looks[0], None])[0])


def test_a_segment_without_an_edit_has_the_objects_colour_and_no_shape(world: World) -> None:
    frames = range(LENGTH)
    scene = scene_of(world, recolour(RED), frames)
    look = segment_look(scene.source + 0.02, scene)
    assert not look.is_edited
    assert look.shape.sum() == 0
    assert (look.colour / 0.88 - torch.tensor(world.objects[0].colour)).abs().max() < 0.08
    edited = looks_of(world, [recolour(RED)])[0]
    assert shape_difference(look, look) == 0
    assert shape_difference(look, edited) == 1


def test_what_a_smaller_object_uncovers_is_no_edit(world: World) -> None:
    smaller = Edit("replace the ball", 0, "reshape", RED, "cone")
    (look,) = looks_of(world, [smaller])
    uncovered = looks_of(world, [recolour(RED)])[0].shape.clamp(0, 1)
    assert look.shape.sum() < 0.8 * uncovered.sum()
    assert (look.colour / 0.88 - torch.tensor(RED)).abs().max() < 0.1


def test_an_object_outside_the_frame_has_no_look(world: World) -> None:
    gone = replace(world, objects=(replace(world.objects[0], away=(0, 50)),))
    scene = scene_of(gone, recolour(RED), range(10, 10 + LENGTH))
    assert segment_look(scene.source, scene) is None


def test_an_object_that_stands_before_it_hides_nothing_of_the_answer(world: World) -> None:
    ball = world.objects[0]
    before = replace(
        ball, kind="box", colour=BLUE, x=replace(ball.x, offset=ball.x.offset + 0.8 * ball.radius)
    )
    covered = replace(world, objects=(ball, before))
    (whole,), (half,) = looks_of(world, [recolour(RED)]), looks_of(covered, [recolour(RED)])
    assert half.amount < 0.8 * whole.amount
    assert half.known.float().mean() < 0.95
    assert shape_difference(whole, half) < 0.1
    assert colour_difference(whole, half) < 0.08


def test_crops_follow_place_size_and_turn() -> None:
    def picture(cx: float, cy: float, radius: float, turn: float) -> torch.Tensor:
        axis = (torch.arange(96) + 0.5) / 96
        y, x = torch.meshgrid(axis, axis, indexing="ij")
        u, v = (x - cx) / radius, (y - cy) / radius
        ru, rv = math.cos(turn) * u + math.sin(turn) * v, math.cos(turn) * v - math.sin(turn) * u
        return ((ru.abs() < 1.5) & (rv.abs() < 0.5)).float()[None, None]

    crops = [
        aligned_crops(
            picture(*pose),
            torch.tensor([pose[:2]]),
            torch.tensor([pose[2]]),
            torch.tensor([pose[3]]),
        )
        for pose in ((0.5, 0.5, 0.15, 0.0), (0.4, 0.6, 0.12, 0.7))
    ]
    assert crops[0].shape == (1, 1, CROP_PX, CROP_PX)
    assert (crops[0] - crops[1]).abs().mean() < 0.03
    assert 0.2 * 0.6 * 0.9 < crops[0].mean() < 0.2 * 0.6 * 1.1  # 1 of 5 by 3 of 5 radii


def test_background_is_all_but_the_objects_box(world: World) -> None:
    scene = scene_of(world, recolour(RED), range(LENGTH))
    box = object_box(scene.track, SIZE, SIZE)
    assert background_psnr(scene.source + 0.5 * box, scene) == pytest.approx(120)
    assert background_psnr(scene.source + 0.1 * ~box, scene) == pytest.approx(20, abs=1e-3)
    hatted = render_world(world, range(LENGTH), SIZE, hat("pointed hat"))
    assert background_psnr(hatted, scene) == pytest.approx(120)  # no hat reaches out of it


def test_colours_of_segments_are_averaged_by_how_much_changed(world: World) -> None:
    red, blue = looks_of(world, [recolour(RED), recolour(BLUE)])
    expected = (red.amount * red.colour + blue.amount * blue.colour) / (red.amount + blue.amount)
    torch.testing.assert_close(mean_colour([red, None, blue]), expected)


def testjoined_scenes_scenes_keep_their_order(world: World) -> None:
    parts = [scene_of(world, recolour(RED), range(i, i + 2)) for i in (0, 7)]
    whole = joined_scenes(parts)
    assert isinstance(whole.track, ObjectTrack)
    part = whole.frames(2, 4)
    assert torch.equal(part.source, parts[1].source)
    assert torch.equal(part.track.centres, parts[1].track.centres)
