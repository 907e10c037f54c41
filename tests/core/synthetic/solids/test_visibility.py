"""Which pixels of two videos show the same point."""

import math

import pytest
import torch
from instruments.solid_scenes import (
    BLUE,
    INFINITE,
    RED,
    ROOM,
    ball,
    cameras_at,
    made_scene,
    scene_of,
    standing,
)

from memv2v_core.cameras.projection import pixel_centres, warp_by_rotation
from memv2v_core.cameras.trajectory import CameraTrajectory
from memv2v_core.synthetic.solids.casting import cast_rays
from memv2v_core.synthetic.solids.filming import FilmedSolids, film_solids
from memv2v_core.synthetic.solids.paths import SolidPathsConfig, random_solid_path, solid_path
from memv2v_core.synthetic.solids.scene import Motion, Paint, Solid, SolidScene
from memv2v_core.synthetic.solids.visibility import (
    ever_seen,
    points_at,
    visible_from,
    warp_by_depth,
)

SIZE = 48
MOMENTS = torch.tensor([0.0, 4.0, 8.0])


def path_of(seed: int, *kinds: str) -> CameraTrajectory:
    draws = torch.Generator().manual_seed(seed)
    if kinds:
        return solid_path(kinds[0], SolidPathsConfig(), 3, 60.0, draws)
    return random_solid_path(SolidPathsConfig(), 3, 60.0, draws)


def filmed(scene: SolidScene, path: CameraTrajectory, size: int = SIZE) -> FilmedSolids:
    return film_solids(scene, path, size, size, MOMENTS[: path.num_frames])


def at_centre(seen: torch.Tensor, size: int = SIZE) -> bool:
    """Of a mask (1, H W): at the pixel right below the middle."""
    return bool(seen.view(size, size)[size // 2, size // 2])


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_sees_every_point_of_its_own_video_at_its_pixel(seed: int) -> None:
    scene = made_scene(seed)
    video = filmed(scene, path_of(seed))
    places, is_seen = visible_from(scene, video, video.path, MOMENTS)
    assert is_seen.all()
    middles = pixel_centres(SIZE, SIZE).flatten(0, 1)[:, :2]
    # A ten-thousandth of a pixel.
    assert (places - middles).abs().max() * SIZE < 1e-3


def test_a_ball_before_a_wall_hides_a_part_of_it() -> None:
    scene = scene_of(standing(ball((0.0, 0.0, 3.0), 0.5)))
    # From the left the wall's middle is open, from the front the ball stands before it.
    side = filmed(scene, cameras_at((-3.0, 0.0, 0.0), yaw=math.atan2(3, 8)))
    assert side.surface[0, SIZE // 2, SIZE // 2] == 1 + 5
    front = cameras_at((0.0, 0.0, 0.0))
    places, is_seen = visible_from(scene, side, front, MOMENTS[:1])
    assert not at_centre(is_seen)
    assert places.view(SIZE, SIZE, 2)[SIZE // 2, SIZE // 2].tolist() == pytest.approx(
        [0.5, 0.5], abs=0.02
    )
    # Higher up nothing stands before it.
    assert is_seen.view(SIZE, SIZE)[SIZE // 4, SIZE // 2]


def test_a_ball_hides_the_sky_behind_it() -> None:
    """From the side a camera sees the sky in the direction in which another sees the ball."""
    scene = scene_of(standing(ball((0.0, 0.0, 3.0), 0.5)), extents=(-INFINITE, INFINITE) * 3)
    side = filmed(scene, cameras_at((2.0, 0.0, 0.0)))
    front = cameras_at((0.0, 0.0, 0.0))
    assert side.surface[0, SIZE // 2, SIZE // 2] == scene.sky_id
    places, is_seen = visible_from(scene, side, front, MOMENTS[:1])
    # Infinitely far: the same pixel of the other camera.
    is_sky = (side.surface[0] == scene.sky_id).flatten()
    middles = pixel_centres(SIZE, SIZE).flatten(0, 1)[:, :2]
    assert (places[0] - middles)[is_sky].abs().max() < 1e-5
    shown = filmed(scene, front).surface[0].flatten()
    assert torch.equal(is_seen[0][is_sky], (shown == scene.sky_id)[is_sky])
    assert not at_centre(is_seen)


def test_a_face_that_looks_away_is_not_seen() -> None:
    """The front of a ball from behind: the ball itself hides it; of a thin box, its other face."""
    for solid in (ball((0.0, 0.0, 3.0), 0.5), Solid("box", (0.0, 0.0, 3.0), (1, 1, 1e-3), RED)):
        scene = scene_of(standing(solid))
        front = filmed(scene, cameras_at((0.0, 0.0, 0.0)))
        behind = cameras_at((0.0, 0.0, 6.0), yaw=math.pi)
        assert front.surface[0, SIZE // 2, SIZE // 2] == 0
        assert not at_centre(visible_from(scene, front, behind, MOMENTS[:1])[1])


def test_a_card_shows_the_same_point_on_both_sides() -> None:
    card = Solid("card", (0.0, 0.0, 3.0), (1.0, 1.0, 0.0), RED)
    scene = scene_of(standing(card))
    front = filmed(scene, cameras_at((0.0, 0.0, 0.0)))
    behind = cameras_at((0.0, 0.0, 6.0), yaw=math.pi)
    places, is_seen = visible_from(scene, front, behind, MOMENTS[:1])
    assert at_centre(is_seen)
    # Left and right change places.
    middles = pixel_centres(SIZE, SIZE).flatten(0, 1)[:, :2]
    is_card = (front.surface[0] == 0).flatten()
    assert is_seen[0][is_card].all()
    mirrored = torch.stack((1 - middles[:, 0], middles[:, 1]), dim=1)
    assert (places[0] - mirrored)[is_card].abs().max() < 1e-5


def test_points_behind_a_camera_or_outside_its_picture_are_not_seen() -> None:
    scene = scene_of(standing(ball((0.0, 0.0, 3.0), 0.5)))
    front = filmed(scene, cameras_at((0.0, 0.0, 0.0)))
    for yaw in (math.pi, math.pi / 2, -math.pi / 2):
        turned = cameras_at((0.0, 0.0, 0.0), yaw=yaw)
        assert not visible_from(scene, front, turned, MOMENTS[:1])[1].any()


def test_only_the_points_asked_for_are_seen() -> None:
    scene = made_scene(3)
    video, camera = filmed(scene, path_of(1)), path_of(2)
    every = visible_from(scene, video, camera, MOMENTS)[1]
    wanted = torch.rand(every.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    some = visible_from(scene, video, camera, MOMENTS, wanted)[1]
    assert torch.equal(some, every & wanted)
    none = visible_from(scene, video, camera, MOMENTS, torch.zeros_like(wanted))[1]
    assert not none.any()


def test_a_moved_things_point_follows_it() -> None:
    """After 4 frames of 16 the ball has swung by 0.8 to the right; the wall has not."""
    mover = standing(ball((0.0, 0.0, 4.0), 0.6), motion=Motion((0.8, 0.0, 0.0), 16.0, 0.0))
    scene = scene_of(mover)
    video = filmed(scene, cameras_at((0.0, 0.0, 0.0)))
    before, after = (points_at(scene, video, MOMENTS[i : i + 1])[0] for i in (0, 1))
    is_ball = (video.surface[0] == 0).flatten()
    torch.testing.assert_close(
        (after - before)[is_ball], torch.tensor([0.8, 0.0, 0.0]).expand(int(is_ball.sum()), 3)
    )
    assert torch.equal(before[~is_ball], after[~is_ball])
    # A camera that has gone with the ball sees the same points at the same pixels.
    along = cameras_at((0.8, 0.0, 0.0))
    places, is_seen = visible_from(scene, video, along, MOMENTS[1:2])
    middles = pixel_centres(SIZE, SIZE).flatten(0, 1)[:, :2]
    assert is_seen[0][is_ball].all()
    assert (places[0] - middles)[is_ball].abs().max() < 1e-5
    # The wall behind the ball's first place is open now, and other parts of it are hidden.
    still = cameras_at((0.0, 0.0, 0.0))
    is_open = visible_from(scene, video, still, MOMENTS[1:2])[1][0]
    hidden = ~is_open & ~is_ball
    assert 20 < hidden.sum() < is_ball.sum()
    assert places[0][hidden][:, 0].min() > 0.3


@pytest.mark.parametrize("seed", range(3))
def test_visibility_agrees_with_the_other_videos_depth(seed: int) -> None:
    """A second way: a point is seen where its distance is that of the pixel it falls on."""
    scene = made_scene(20 + seed)
    viewer, other = filmed(scene, path_of(seed), 64), filmed(scene, path_of(50 + seed), 192)
    places, is_seen = visible_from(scene, viewer, other.path, MOMENTS)
    points = points_at(scene, viewer, MOMENTS)
    distance = (points.double() - other.path.c2w[:, None, :3, 3]).norm(dim=-1)
    is_inside = ((places >= 0) & (places < 1)).all(-1)
    pixel = (places.nan_to_num(0).clamp(0, 1 - 1e-9) * 192).long()
    idx = pixel[..., 1] * 192 + pixel[..., 0]
    depth = other.depth.flatten(1).gather(1, idx).double()
    is_sky = viewer.hits.surface == scene.sky_id
    is_near = torch.where(is_sky, depth.isinf(), (distance / depth - 1).abs() < 0.03)
    # Behind the camera a point has a mirror image.
    ahead = other.path.c2w[:, None, :3, 2]
    is_inside &= ((points.double() - other.path.c2w[:, None, :3, 3]) * ahead).sum(-1) > 0
    # Near the horizon a pixel spans more than 3 % of the distance.
    agrees = (is_seen == (is_near & is_inside))[(distance < 10) | is_sky]
    assert agrees.float().mean() > 0.985
    assert 0.1 < is_seen.float().mean() < 0.999


def test_ever_seen_is_the_union_of_all_frames() -> None:
    """Pixel by pixel, with one ray each, in float64."""
    scene = made_scene(31)
    viewer = filmed(scene, path_of(1, "pan_right"), 12)
    observers = filmed(scene, path_of(2, "dolly_out"), 12)
    mask = ever_seen(scene, viewer, observers)
    assert mask.shape == (3, 1, 12, 12)
    exact = scene.to(dtype=torch.float64)
    lens = observers.path.intrinsics[0]
    for frame, place in ((f, p) for f in range(3) for p in range(0, 144, 5)):
        found = False
        for other in range(3):
            point = points_at(scene, viewer, MOMENTS[other].expand(3))[frame, place].double()
            c2w = observers.path.c2w[other]
            own = c2w[:3, :3].T @ (point - c2w[:3, 3])
            x, y = (lens @ (own / own[2]))[:2].tolist()
            if own[2] <= 0 or not (0 <= x < 1 and 0 <= y < 1):
                continue
            way = (point - c2w[:3, 3])[None, None]
            hits = cast_rays(exact, MOMENTS[other, None], c2w[None, :3, 3], way / way.norm())
            if viewer.hits.surface[frame, place] == scene.sky_id:
                found |= hits.surface.item() == scene.sky_id
            else:
                found |= hits.distance.item() > way.norm().item() * 0.998
        assert bool(mask[frame, 0].flatten()[place]) == found, (frame, place)
    assert 0 < mask.float().mean() < 1


def test_an_observer_sees_a_thing_where_it_is_at_the_observers_moment() -> None:
    """A ball at moment 0; at moment 4 it has swung by 2.5 into another camera's narrow view."""
    mover = standing(ball((0.0, 0.0, 4.0), 0.6), motion=Motion((2.5, 0.0, 0.0), 16.0, 0.0))
    scene = scene_of(mover)
    viewer = filmed(scene, cameras_at((0.0, 0.0, 0.0)))
    is_ball = viewer.surface[0] == 0
    beside = cameras_at((2.5, 0.0, 0.0), fov_deg=30.0)
    for moment, is_there in ((4.0, True), (0.0, False), (8.0, False)):
        observer = film_solids(scene, beside, SIZE, SIZE, torch.tensor([moment]))
        seen = ever_seen(scene, viewer, observer)[0, 0]
        assert seen[is_ball].all() if is_there else not seen[is_ball].any()
        assert seen[~is_ball].any()  # the walls are seen at every moment


def test_a_warp_into_another_view_is_the_true_view_where_it_is_known() -> None:
    """A ball before a patterned wall; the camera moves to the side.

    What the ball hid from the first camera is not known, though it lies inside its picture.
    """
    soft = Paint((0.9, 0.2, 0.1), (0.1, 0.3, 0.9), "checks", 1.5)
    wall = Solid("box", (0.0, 0.0, 7.0), (6.0, 6.0, 0.1), soft)
    scene = scene_of(standing(ball((0.0, 0.0, 3.0), 0.5)), standing(wall))
    first = filmed(scene, cameras_at((0.0, 0.0, 0.0)), 96)
    second = filmed(scene, cameras_at((0.6, 0.0, 0.0)), 96)
    warped, is_known = warp_by_depth(scene, first.frames, first, second)
    assert warped.shape == first.frames.shape
    assert is_known.shape == (1, 1, 96, 96)
    error = (warped - second.frames).abs().amax(1, keepdim=True)
    assert error[is_known].mean() < 0.004
    assert error[is_known].quantile(0.99) < 0.06
    assert (warped[(~is_known).expand_as(warped)] == 0).all()
    # The part of the wall that the ball hid: nothing at all is known of it.
    _, is_seen = visible_from(scene, second, first.path, MOMENTS[:1])
    is_wall = second.surface == 1
    at = second.hits.place[0].unflatten(0, (96, 96))
    was_hidden = is_wall[0] & (torch.hypot(at[..., 0], at[..., 1]) < 0.5 / 3 * 6.8)
    assert was_hidden.sum() > 200
    assert not is_known[0, 0][was_hidden].any()
    assert not is_seen.view(96, 96)[was_hidden].any()
    # Reading the picture there without the mask would show the ball.
    assert is_known.float().mean() > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_a_warp_of_a_true_video_is_near_the_true_view(seed: int) -> None:
    scene = made_scene(40 + seed)
    first, second = (filmed(scene, path_of(number + seed), 96) for number in (0, 10))
    warped, is_known = warp_by_depth(scene, first.frames, first, second)
    error = (warped - second.frames).square().mean(1, keepdim=True)
    assert is_known.float().mean() > 0.2
    # 30 dB; unrelated pictures are at 15.
    assert error[is_known].mean() < 1e-3
    plain = (first.frames - second.frames).square().mean(1, keepdim=True)
    assert error[is_known].mean() < 0.2 * plain[is_known].mean()


def test_a_rotation_is_warped_as_by_its_homography() -> None:
    """Out of doors and in a room, sky or not: no depth is needed."""
    for extents in (ROOM, (-INFINITE, INFINITE, -INFINITE, 1.5, -INFINITE, INFINITE)):
        scene = scene_of(standing(ball((0.3, -0.2, 3.0), 0.7, BLUE)), extents=extents)
        first = filmed(scene, cameras_at((0.0, 0.0, 0.0)), 64)
        second = filmed(scene, cameras_at((0.0, 0.0, 0.0), yaw=0.3), 64)
        warped, is_known = warp_by_depth(scene, first.frames, first, second)
        expected, is_inside = warp_by_rotation(first.frames, first.path, second.path)
        assert not (is_known & ~is_inside).any()
        torch.testing.assert_close(
            warped[is_known.expand_as(warped)],
            expected[is_known.expand_as(warped)],
            atol=2e-4,
            rtol=0,
        )
        # Only pixels whose interpolation would cross an edge are left out.
        left_out = is_inside & ~is_known
        assert left_out.sum() < 0.1 * is_inside.sum()
        surface = second.surface[0]
        far = torch.ones_like(surface, dtype=torch.bool)
        for down in (-2, -1, 0, 1, 2):
            for across in (-2, -1, 0, 1, 2):
                far &= surface.roll((down, across), (0, 1)) == surface
        inner = torch.zeros_like(far)
        inner[2:-2, 2:-2] = True
        assert not (left_out[0, 0] & far & inner).any()
