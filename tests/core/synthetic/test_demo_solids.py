"""Scenes with depth for users: what a camera may do in them."""

import math
from dataclasses import replace

import pytest
import torch
from instruments.solid_scenes import RED, ball, cameras_at, fullness, scene_of, standing

from memv2v_core.cameras.authored import PathSettings, authored_path
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics
from memv2v_core.synthetic import demo_solids
from memv2v_core.synthetic.demo_solids import film_demo_solids, require_free
from memv2v_core.synthetic.solids.filming import film_solids
from memv2v_core.synthetic.solids.making import demo_solid_scene
from memv2v_core.synthetic.solids.paths import drifting_solid_path
from memv2v_core.synthetic.solids.scene import Motion, Solid

# 3 is a meadow, 4 is a room.
MEADOW, ROOM = 3, 4
LENS = lens_intrinsics(60.0, 1.0)


def path(motion: str, amplitude: float) -> CameraTrajectory:
    return authored_path(PathSettings(motion, amplitude), 5, LENS)


def test_a_drifting_source_pans_and_moves_to_the_right() -> None:
    drift = drifting_solid_path(4.0, 5)
    ends = drift.c2w[-1]
    assert torch.allclose(drift.c2w[0], torch.eye(4, dtype=torch.float64))
    assert math.degrees(math.atan2(float(ends[0, 2]), float(ends[2, 2]))) == pytest.approx(4.0)
    assert ends[:3, 3].tolist() == pytest.approx([0.2, 0.0, 0.0])
    steps = drift.c2w[1:, :3, 3] - drift.c2w[:-1, :3, 3]
    assert torch.allclose(steps, steps[:1].expand_as(steps))
    assert torch.allclose(drift.intrinsics, LENS.expand(5, 3, 3))
    assert torch.equal(drifting_solid_path(0.0, 3).c2w, torch.eye(4).double().repeat(3, 1, 1))


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, drift, done = demo_solid_scene(MEADOW), drifting_solid_path(5.0, 5), []
    whole = film_demo_solids(scene, drift, 32)
    monkeypatch.setattr(demo_solids, "_PIXELS_AT_ONCE", 2 * 32**2)
    assert torch.equal(film_demo_solids(scene, drift, 32, done.append), whole)
    assert done == [2, 2, 1]
    assert torch.equal(film_solids(scene, drift, 32, 32).frames, whole)
    assert whole.shape == (5, 3, 32, 32)


def test_things_stand_where_the_moments_of_the_path_put_them() -> None:
    """A path in space and time shows the frames of the source that it names."""
    scene, still = demo_solid_scene(MEADOW), path("static", 0.0)
    plain = film_demo_solids(scene, still, 32)
    assert (plain[0] - plain[-1]).abs().max() > 0.1  # a balloon flies
    backwards = replace(still, times=torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]))
    assert torch.equal(film_demo_solids(scene, backwards, 32), plain.flip(0))


def test_usual_paths_are_free_in_every_scene() -> None:
    for number in range(12):
        scene = demo_solid_scene(number)
        for move in (path("orbit_left", 40.0), path("dolly_in", 0.6), path("sweep", 60.0)):
            require_free(scene, move)


def test_a_camera_among_far_things_is_refused() -> None:
    wanted = r"camera got 2.5 pose units away .* at frame 5, wanted at most 2.* lower the amplitude"
    with pytest.raises(ValueError, match=wanted):
        require_free(demo_solid_scene(MEADOW), path("dolly_out", 2.5))


def test_a_camera_under_the_floor_or_outside_of_the_room_is_refused() -> None:
    for number in (MEADOW, ROOM):
        scene = demo_solid_scene(number)
        floor = float(scene.walls[3])
        require_free(scene, cameras_at((0.0, floor - 0.2, 0.0)))
        with pytest.raises(ValueError, match=r"under the floor at frame 1, wanted at least 0\.1"):
            require_free(scene, cameras_at((0.0, floor + 0.01, 0.0)))
    ceiling = float(demo_solid_scene(ROOM).walls[2])
    with pytest.raises(ValueError, match=r"outside of the room at frame 1, .* ceiling and walls"):
        require_free(demo_solid_scene(ROOM), cameras_at((0.0, ceiling, 0.0)))


@pytest.mark.parametrize(
    "solid",
    [
        Solid("ellipsoid", (0.2, -0.1, 0.3), (0.5, 0.7, 0.4), RED),
        Solid("box", (0.2, 0.1, 0.0), (0.6, 0.3, 0.4), RED),
        Solid("cone", (0.0, 0.0, 0.2), (0.7, 0.5, 0.2), RED),
    ],
    ids=lambda solid: solid.kind,
)
def test_a_camera_inside_of_a_thing_is_refused(solid: Solid) -> None:
    scene, yaw = scene_of(standing(solid, yaw=0.7)), 0.7
    draws = torch.Generator().manual_seed(0)
    places = 2 * torch.rand(200, 3, generator=draws) - 1
    is_inside = fullness(solid, yaw, places) < 1
    # A solid of twice the size is far enough away.
    is_far = fullness(replace(solid, size=tuple(2 * side for side in solid.size)), yaw, places) > 1
    assert is_inside.sum() > 10
    assert is_far.sum() > 10
    for place in places[is_inside]:
        with pytest.raises(ValueError, match="inside of a thing at frame 1, wanted at least 0.1"):
            require_free(scene, cameras_at(tuple(place.tolist())))
    for place in places[is_far]:
        require_free(scene, cameras_at(tuple(place.tolist())))


def test_a_thing_covers_the_place_where_it_is_at_the_cameras_moment() -> None:
    scene = scene_of(standing(ball((0.0, 0.0, 0.0), 0.5), motion=Motion((1.5, 0.0, 0.0), 4.0)))
    # It is at x = 0, 1.5, 0, -1.5.
    path = replace(cameras_at((0.0, 0.0, 0.0)), times=torch.tensor([1.0]))
    require_free(scene, path)
    with pytest.raises(ValueError, match="inside of a thing"):
        require_free(scene, replace(path, times=torch.tensor([2.0])))
    with pytest.raises(ValueError, match="inside of a thing at frame 4"):
        require_free(scene, cameras_at(*[(-1.5, 0.0, 0.0)] * 4))
