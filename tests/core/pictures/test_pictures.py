"""Pictures of paths and choices: drawn from the numbers themselves, for any path and any cache."""

import math

import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import MOTIONS, PresetConfig, make_preset
from memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    intrinsics_matrix,
    pose_vectors,
    static_trajectory,
)
from memv2v_core.pictures.canvas import BACKGROUND, QUERY, SERIES, Canvas, stack_pictures
from memv2v_core.pictures.paths import draw_path, path_from_poses, path_summary
from memv2v_core.pictures.planes import END, PLANES, START, draw_plane
from memv2v_core.pictures.retrievals import draw_retrieval
from memv2v_core.pictures.sphere import SphereView, draw_sphere
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.retrieval.video_fov import video_fov_mask

LENS = intrinsics_matrix(0.8660254, 0.8660254)


def path(motion: str, amplitude: float = 30.0, num_frames: int = 5) -> CameraTrajectory:
    return make_preset(PresetConfig(motion, amplitude, num_frames), LENS)


def cache_of(*motions: str) -> MemoryCache:
    cache = MemoryCache()
    for i, motion in enumerate(motions):
        latent = torch.randn(16, 5, 4, 4, generator=torch.Generator().manual_seed(i))
        cache = cache.append(MemoryEntry.of(latent, path(motion), "m", 5, i + 1, float(i)))
    return cache


def has_colour(picture: torch.Tensor, colour: tuple[int, int, int]) -> bool:
    return bool(((picture * 255 - torch.tensor(colour)).abs() < 2).all(-1).any())


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_can_be_drawn(motion: str) -> None:
    for plane in PLANES:
        picture = draw_plane(plane, path(motion), static_trajectory(5, LENS), side_px=120)
        assert picture.shape == (120, 120, 3)
        assert picture.isfinite().all()
        assert has_colour(picture, END)


def test_one_frame_and_far_away_paths_can_be_drawn() -> None:
    single = path("static", num_frames=1)
    assert has_colour(draw_plane(PLANES[0], single), END)
    far = path("dolly_in", 2.0)
    moved = far.c2w.clone()
    moved[:, :3, 3] += 1e4
    assert has_colour(draw_plane(PLANES[0], CameraTrajectory(moved, far.intrinsics)), START)


def test_top_plane_draws_a_pan_to_the_right_on_the_right() -> None:
    picture = draw_plane(PLANES[0], path("pan_right", 60.0))
    red = ((picture * 255 - torch.tensor(END)).abs() < 40).all(-1).nonzero()
    green = ((picture * 255 - torch.tensor(START)).abs() < 40).all(-1).nonzero()
    assert red[:, 1].float().mean() > green[:, 1].float().mean()


def test_sphere_shows_exactly_the_scored_points() -> None:
    view = path("pan_right")
    picture = draw_sphere([SphereView(view, SERIES[0])], view, width_px=360)
    empty = draw_sphere([], view, width_px=360)
    assert torch.equal((picture != empty).any(-1), video_fov_mask(view, view))


def test_path_comes_back_from_the_numbers_that_condition_the_model() -> None:
    view, source = path("orbit_left", 50.0), path("pan_right", 10.0)
    again = path_from_poses(pose_vectors(view, source), view.intrinsics)
    assert torch.allclose(again.c2w, view.relative_to(source).c2w, atol=1e-6)
    assert "turning up to 50.0 degrees" in path_summary(again)
    assert "lens 60.0 degrees" in path_summary(again)
    assert f"moving up to {2 * math.sin(math.radians(25)):.3g} pose units" in path_summary(again)


def test_path_picture_is_drawn_with_and_without_source() -> None:
    view = path("sweep")
    with_source = draw_path(pose_vectors(view, view), view.intrinsics, static_trajectory(5, LENS))
    without = draw_path(pose_vectors(view, view), view.intrinsics)
    assert with_source.shape == without.shape
    assert not torch.equal(with_source, without)


def test_retrieval_picture_has_a_row_for_every_candidate() -> None:
    query = path("pan_right", 25.0)
    heights = [
        draw_retrieval(retrieve_by_fov(cache_of(*motions), query, 1)).shape[0]
        for motions in ((), ("pan_left",), ("pan_left", "pan_right"))
    ]
    assert heights[2] - heights[1] == heights[1] - heights[0] > 50
    assert has_colour(draw_retrieval(retrieve_by_fov(cache_of(), query, 3)), QUERY)


def test_retrieval_picture_stays_readable_with_many_candidates() -> None:
    motions = [motion for motion in MOTIONS if motion != "static"] * 2
    picture = draw_retrieval(retrieve_by_fov(cache_of(*motions), path("pan_left"), 20))
    assert picture.shape[0] < 2000


def test_given_thumbnail_is_shown() -> None:
    cache = cache_of("pan_left")
    retrieval = retrieve_by_fov(cache, path("pan_left"), 1)
    red = torch.tensor([1.0, 0.0, 0.0]).expand(8, 8, 3)
    assert has_colour(
        draw_retrieval(retrieval, thumbnails={cache.entries[0].entry_id: red}), (255, 0, 0)
    )


def test_stacked_pictures_keep_their_pixels() -> None:
    white = Canvas(4, 2, (255, 255, 255)).picture()
    column, row = (
        stack_pictures([white, white], gap=3),
        stack_pictures([white, white], gap=3, is_row=True),
    )
    assert column.shape == (7, 4, 3)
    assert row.shape == (2, 11, 3)
    assert torch.allclose(column[2:5], torch.tensor(BACKGROUND) / 255)
