"""The colours of surfaces."""

import pytest
import torch
from instruments.solid_scenes import (
    BLUE,
    OUTDOORS,
    RED,
    ball,
    cameras_at,
    made_scene,
    scene_of,
    standing,
)

from memv2v_core.synthetic.solids.filming import film_solids
from memv2v_core.synthetic.solids.scene import PATTERNS, Paint, Pattern, Solid, Thing
from memv2v_core.synthetic.solids.shading import sky_colour

HERE = cameras_at((0.0, 0.0, 0.0))


def wall_before_the_camera(paint: Paint, distance: float = 2.0) -> torch.Tensor:
    """A picture (3, 16, 16) of a flat box: the middle of a larger one."""
    box = Solid("box", (0.0, 0.0, distance + 0.1), (20.0, 20.0, 0.1), paint)
    return film_solids(scene_of(standing(box)), HERE, 64, 64).frames[0, :, 24:40, 24:40]


def test_plain_paint_has_its_hue_and_an_even_brightness() -> None:
    picture = wall_before_the_camera(RED).flatten(1)
    assert picture.std(1).max() < 1e-6
    colour = picture.mean(1)
    share = colour / torch.tensor(RED.colour)
    # Every channel is as bright as the light makes it.
    assert share.max() - share.min() < 1e-5
    assert 0.5 < share[0] <= 1.05


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name != "plain"])
def test_a_pattern_shows_both_colours_and_fades_far_away(pattern: Pattern) -> None:
    paint = Paint((0.9, 0.1, 0.1), (0.1, 0.1, 0.9), pattern, 9.0)
    near = wall_before_the_camera(paint)
    share = near[2] / (near[0] + near[2])  # of blue
    assert share.min() < 0.15
    assert share.max() > 0.85
    # So far away that a period is less than a pixel: no false large patterns.
    fine = Paint(paint.colour, paint.other, pattern, 400.0)
    assert (
        wall_before_the_camera(fine, 6.0).std(dim=(1, 2)).max() < 0.1 * near.std(dim=(1, 2)).max()
    )


def test_the_side_towards_the_light_is_brighter() -> None:
    """The light of these scenes comes from above."""
    scene = scene_of(standing(ball((0.0, 0.0, 4.0), 1.0)))
    video = film_solids(scene, HERE, 64, 64)
    is_ball = video.surface[0] == 0
    top = video.frames[0, 0, 20:26, 30:34][is_ball[20:26, 30:34]]
    bottom = video.frames[0, 0, 38:44, 30:34][is_ball[38:44, 30:34]]
    assert top.mean() > 1.2 * bottom.mean()


def test_the_floor_is_dark_under_a_thing() -> None:
    post = Solid("box", (0.0, -1.2, 0.0), (0.1, 0.1, 0.1), RED)
    ground = (0.0, 1.5, 4.0)
    lit, dark = (
        film_solids(
            scene_of(Thing("post", (post,), ground, 0.0, radius), extents=OUTDOORS), HERE, 64, 64
        )
        for radius in (0.0, 0.6)
    )
    ratio = dark.frames[0, 0] / lit.frames[0, 0]
    assert ratio.min() < 0.75  # darkest under the thing
    is_dark = ratio < 0.99
    assert (lit.surface[0][is_dark] == 1 + 3).all()  # on the floor alone
    places = lit.hits.place[0].unflatten(0, (64, 64))[is_dark]
    apart = (places - torch.tensor(ground))[:, [0, 2]].norm(dim=-1)
    # Nothing is dark from 1.4 of the radius on.
    assert apart.max() < 1.42 * 0.6


def test_haze_hides_what_is_far_away_out_of_doors() -> None:
    def picture(distance: float, extents: tuple[float, ...]) -> torch.Tensor:
        box = Solid("box", (0.0, 0.0, distance), (distance, distance, 0.1), BLUE)
        scene = scene_of(standing(box), extents=extents)
        return film_solids(scene, HERE, 8, 8).frames[0, :, 3, 4]

    near, middle, far = (picture(distance, OUTDOORS) for distance in (2.0, 20.0, 60.0))
    horizon = scene_of(standing(ball((0.0, 0.0, 1.0))), extents=OUTDOORS).sky[0]
    assert (far - horizon).abs().max() < 0.01
    # Two thirds are hidden over 20 pose units.
    left = (middle - horizon).abs().max() / (near - horizon).abs().max()
    assert 0.25 < left < 0.4


def test_the_sky_has_no_seam_behind_the_camera() -> None:
    """Azimuth jumps from pi to -pi there."""
    scene = made_scene(1, room_share=0.0)
    height = torch.linspace(-0.9, -0.05, 30)
    sides = [
        torch.stack((torch.full((30,), x), height, torch.full((30,), -1.0)), dim=-1)
        for x in (-1e-4, 1e-4)
    ]
    left, right = (
        sky_colour(scene, torch.nn.functional.normalize(side, dim=-1)[None]) for side in sides
    )
    assert (left - right).abs().max() < 0.01
    assert left.std() > 0.02
