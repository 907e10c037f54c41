"""Videos of scenes of solids."""

import math

import pytest
import torch
from instruments.solid_scenes import (
    BLUE,
    INFINITE,
    OUTDOORS,
    RED,
    ball,
    cameras_at,
    made_scene,
    scene_of,
    standing,
)

from memv2v_core.cameras.projection import pixel_rays
from memv2v_core.synthetic.solids.casting import cast_rays
from memv2v_core.synthetic.solids.filming import FilmedSolids, film_solids
from memv2v_core.synthetic.solids.paths import SolidPathsConfig, random_solid_path
from memv2v_core.synthetic.solids.scene import Motion, Solid, SolidScene


def filmed(seed: int, scene: SolidScene, size: int = 48) -> FilmedSolids:
    draws = torch.Generator().manual_seed(seed)
    path = random_solid_path(SolidPathsConfig(), 3, 60.0, draws)
    return film_solids(scene, path, size, size, torch.tensor([0, 4, 8]))


@pytest.mark.parametrize("seed", range(6))
def test_a_video_is_of_numbers_from_0_to_1(seed: int) -> None:
    video = filmed(seed, made_scene(seed))
    assert video.frames.shape == (3, 3, 48, 48)
    assert video.frames.dtype == torch.float32
    assert 0 <= video.frames.min() < video.frames.max() <= 1
    assert video.depth.shape == video.surface.shape == (3, 48, 48)
    assert (video.depth > 0).all()
    assert (video.depth.isinf() == (video.surface == made_scene(seed).sky_id)).all()


def test_depth_is_along_the_ray_through_a_pixels_middle() -> None:
    """Not along the camera's axis: the corners of a wall are farther than its middle."""
    scene = scene_of(standing(ball((0.0, -2.5, 7.0), 0.1)))
    video = film_solids(scene, cameras_at((0.0, 0.0, 4.0), fov_deg=60.0), 2, 4)
    lens = 0.5 / math.tan(math.radians(30))
    # Pixels 4 wide and 2 high; the lens has square pixels of a square picture.
    for row, column in ((0, 0), (0, 1), (1, 3)):
        x, y = ((column + 0.5) / 4 - 0.5) / lens, ((row + 0.5) / 2 - 0.5) / lens
        expected = 4 * math.sqrt(1 + x * x + y * y)
        assert video.depth[0, row, column].item() == pytest.approx(expected, abs=1e-5)


def test_rays_are_those_of_the_project() -> None:
    """Rotated cameras with a lens that is not centred."""
    scene, path = made_scene(2), cameras_at((0.1, 0.0, 0.2), fov_deg=70.0, yaw=0.4)
    path.intrinsics[:, 0, 2] = 0.4
    video = film_solids(scene, path, 20, 30, has_smooth_edges=False)
    rays = pixel_rays(path.c2w, path.intrinsics, 20, 30).flatten(1, 2).float()
    hits = cast_rays(scene, torch.zeros(1), torch.tensor([[0.1, 0.0, 0.2]]), rays)
    torch.testing.assert_close(video.depth.flatten(1), hits.distance)


def test_smooth_edges_change_only_pixels_beside_another_surface() -> None:
    scene, path = made_scene(4), cameras_at((0.0, 0.0, 0.0), (0.3, 0.0, 0.0))
    rough = film_solids(scene, path, 48, 48, has_smooth_edges=False)
    smooth = film_solids(scene, path, 48, 48)
    assert torch.equal(rough.surface, smooth.surface)
    is_edge = torch.zeros_like(rough.surface, dtype=torch.bool)
    surface = rough.surface
    for axis in (1, 2):
        differs = surface.narrow(axis, 1, 47) != surface.narrow(axis, 0, 47)
        is_edge.narrow(axis, 1, 47).logical_or_(differs)
        is_edge.narrow(axis, 0, 47).logical_or_(differs)
    is_changed = (rough.frames != smooth.frames).any(1)
    assert not (is_changed & ~is_edge).any()
    assert (is_changed & is_edge).sum() > 0.9 * is_edge.sum()


def test_pixels_on_an_edge_mix_both_surfaces() -> None:
    """A red box before a blue one: between them the mixture has a share of each."""
    red = Solid("box", (-1.0, 0.0, 3.0), (1.0, 4.0, 0.1), RED)
    blue = Solid("box", (0.0, 0.0, 6.0), (6.0, 8.0, 0.1), BLUE)
    scene = scene_of(standing(red), standing(blue), extents=(-INFINITE, INFINITE) * 3)
    # A camera turned about its axis by 20 degrees sees the edge aslant.
    path = cameras_at((0.0, 0.0, 0.0))
    cos, sin = math.cos(0.35), math.sin(0.35)
    path.c2w[0, :2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    smooth = film_solids(scene, path, 32, 32).frames[0]
    rough = film_solids(scene, path, 32, 32, has_smooth_edges=False).frames[0]
    share = smooth[0] / (smooth[0] + smooth[2])
    low, high = (rough[0] / (rough[0] + rough[2])).aminmax()
    is_mixed = (share > low + 0.05) & (share < high - 0.05)
    # Along one edge through 32 rows, one or two pixels a row.
    assert 16 <= is_mixed.sum() <= 64
    assert (share >= low - 1e-5).all()
    assert (share <= high + 1e-5).all()
    # The mean over the picture is nearer to that of a picture of four times the width.
    fine = film_solids(scene, path, 256, 256, has_smooth_edges=False).frames[0]
    fine = torch.nn.functional.avg_pool2d(fine, 8)
    assert (smooth - fine).abs().mean() < 0.5 * (rough - fine).abs().mean()


def test_a_picture_without_edges_is_filmed_too() -> None:
    """One wall alone, and the sky alone."""
    room = scene_of(standing(ball((0.0, 0.0, -3.0))))
    assert film_solids(room, cameras_at((0.0, 0.0, 7.0)), 8, 8).surface.unique().numel() == 1
    open_air = scene_of(standing(ball((0.0, 0.0, -3.0))), extents=(-INFINITE, INFINITE) * 3)
    video = film_solids(open_air, cameras_at((0.0, 0.0, 0.0)), 8, 8)
    assert video.depth.isinf().all()
    assert video.frames.isfinite().all()


def test_a_moving_thing_moves_by_its_motion() -> None:
    """A ball swings by 1 to the right within 5 frames, a still one stays."""
    mover = standing(ball((0.0, 0.0, 5.0), 0.4), motion=Motion((1.0, 0.0, 0.0), 20.0, 0.0))
    still = standing(ball((0.0, -1.5, 6.0), 0.4, BLUE))
    scene = scene_of(mover, still)
    path = cameras_at(*((0.0, 0.0, 0.0),) * 2)
    video = film_solids(scene, path, 96, 96, torch.tensor([0, 5]))
    focal = 96 * 0.5 / math.tan(math.radians(30))
    columns = torch.arange(96) + 0.5
    middles = [
        float((columns * (video.surface[frame] == 0)).sum() / (video.surface[frame] == 0).sum())
        for frame in range(2)
    ]
    assert middles[0] == pytest.approx(48, abs=0.1)
    assert middles[1] == pytest.approx(48 + focal / 5, abs=0.3)
    assert torch.equal(video.surface[0] == 1, video.surface[1] == 1)
    # Without moments the video plays from frame 0 on.
    plain = film_solids(scene, path, 96, 96)
    assert plain.moments.tolist() == [0, 1]
    assert torch.equal(plain.frames[0], video.frames[0])
    assert not torch.equal(plain.frames[1], video.frames[1])


def test_the_same_scene_gives_the_same_video() -> None:
    one, other = (filmed(1, made_scene(11)) for _ in range(2))
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.hits.place, other.hits.place)
    assert not torch.equal(one.frames, filmed(1, made_scene(12)).frames)


def test_frames_do_not_depend_on_each_other() -> None:
    """A step films some frames of a path: they are those of the whole video."""
    scene = made_scene(9)
    path = random_solid_path(SolidPathsConfig(), 9, 60.0, torch.Generator().manual_seed(2))
    whole = film_solids(scene, path, 32, 32)
    part = film_solids(scene, path.frames((2, 5, 8)), 32, 32, torch.tensor([2, 5, 8]))
    torch.testing.assert_close(whole.frames[[2, 5, 8]], part.frames, atol=1e-5, rtol=0)


def test_a_scene_out_of_doors_has_a_sky_and_a_floor() -> None:
    scene = scene_of(standing(ball((0.0, 1.0, 4.0), 0.5)), extents=OUTDOORS)
    video = film_solids(scene, cameras_at((0.0, 0.0, 0.0)), 32, 32)
    assert (video.surface[0, 0] == scene.sky_id).all()
    assert (video.surface[0, -1] == scene.num_solids + 3).all()
    # The upper half sees no ground.
    assert video.depth[0, :16].isinf().sum() > 400
    assert video.depth[0, 17:].isfinite().all()
