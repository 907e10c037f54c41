"""VideoFOV against a brute-force reading of Alg. 1, written independently in numpy."""

import math

import numpy as np
import pytest
import torch

from memv2v_core.cameras.presets import PresetConfig, make_preset
from memv2v_core.cameras.trajectory import CameraTrajectory, intrinsics_matrix, static_trajectory
from memv2v_core.retrieval.video_fov import (
    FovScore,
    VideoFovConfig,
    radius_remark,
    sphere_points,
    video_fov_mask,
    video_fov_scores,
)

NUM_PAIRS = 200
BORDER = 1e-9  # points nearer to a picture's border may fall on either side


def grid(radius: float) -> np.ndarray:
    """Alg. 1's points (64800, 3) with theta from +Y and phi from +X towards +Z."""
    theta = (np.arange(180) + 0.5)[:, None] * np.pi / 180
    phi = (np.arange(360) + 0.5)[None] * 2 * np.pi / 360
    points = (
        np.sin(theta) * np.cos(phi),
        np.cos(theta) * np.ones_like(phi),
        np.sin(theta) * np.sin(phi),
    )
    return radius * np.stack(points, axis=-1).reshape(-1, 3)


def our_order() -> np.ndarray:
    """Index of our point u, v in `grid`, whose axes are turned: theta' = pi - theta, phi' = 3 pi /
    2 - phi.
    """
    u, v = np.meshgrid(np.arange(180), np.arange(360), indexing="ij")
    return ((179 - u) * 360 + (269 - v) % 360).ravel()


def brute_force(
    points: np.ndarray, path: CameraTrajectory, reference: CameraTrajectory
) -> tuple[np.ndarray, np.ndarray]:
    """Points seen by any frame, and points near a border of some frame, both (M,) bool."""
    ref = reference.c2w[0].numpy()
    seen, near_border = np.zeros(len(points), bool), np.zeros(len(points), bool)
    for c2w, intrinsics in zip(path.c2w.numpy(), path.intrinsics.numpy(), strict=True):
        rotation = ref[:3, :3].T @ c2w[:3, :3]
        translation = ref[:3, :3].T @ (c2w[:3, 3] - ref[:3, 3])
        x_camera = np.einsum("ji,mj->mi", rotation, points - translation)
        with np.errstate(divide="ignore", invalid="ignore"):
            projected = np.einsum("ij,mj->mi", intrinsics, x_camera / x_camera[:, 2:])
        u, v = projected[:, 0], projected[:, 1]
        seen |= (x_camera[:, 2] > 0) & (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
        distance = np.stack(
            [np.abs(u), np.abs(u - 1), np.abs(v), np.abs(v - 1), np.abs(x_camera[:, 2])]
        )
        near_border |= ~(distance.min(axis=0) > BORDER)
    return seen, near_border


def random_path(generator: torch.Generator, num_frames: int) -> CameraTrajectory:
    """Cameras anywhere within three units, looking anywhere or along one drift, lenses wide to long
    and off-centre.
    """

    def uniform(low: float, high: float, *size: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(*size, generator=generator, dtype=torch.float64)

    is_smooth = bool(uniform(0, 1, 1) < 0.5)
    spread = 0.1 if is_smooth else 3.0
    turns = uniform(-3, 3, 1, 3) + uniform(-spread, spread, num_frames, 3)
    skew = torch.zeros(num_frames, 3, 3, dtype=torch.float64)
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -turns[:, 2], turns[:, 1], -turns[:, 0]
    c2w = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    c2w[:, :3, :3] = torch.linalg.matrix_exp(skew - skew.transpose(1, 2))
    c2w[:, :3, 3] = float(uniform(0, 3, 1)) * uniform(-1, 1, num_frames, 3)
    numbers = torch.cat([uniform(0.3, 3.0, num_frames, 2), uniform(0.3, 0.7, num_frames, 2)], dim=1)
    lenses = torch.stack([intrinsics_matrix(*lens) for lens in numbers.tolist()])
    if bool(uniform(0, 1, 1) < 0.3):
        c2w[-1], lenses[-1] = c2w[0], lenses[0]
    return CameraTrajectory(c2w, lenses)


def test_sphere_is_the_grid_of_the_paper():
    points = sphere_points(VideoFovConfig(radius=2.0)).numpy()
    assert np.abs(points - grid(2.0)[our_order()]).max() < 1e-12


@pytest.mark.slow
def test_sets_equal_brute_force_on_200_random_pairs_of_paths():
    generator = torch.Generator().manual_seed(7)
    order = our_order()
    num_seen = []
    for _ in range(NUM_PAIRS):
        radius = float(torch.rand(1, generator=generator)) * 2 + 0.5
        query, other = random_path(generator, 3), random_path(generator, 4)
        for path in (query, other):
            seen, near_border = brute_force(grid(radius), path, query)
            mask = video_fov_mask(path, query, VideoFovConfig(radius=radius)).flatten().numpy()
            differs = (mask != seen[order]) & ~near_border[order]
            assert not differs.any()
            num_seen.append(seen.mean())
    assert 0.02 < np.mean(num_seen) < 0.6, (
        "the paths test the borders of views, not empty or full spheres"
    )


def test_scores_equal_brute_force_sets():
    generator = torch.Generator().manual_seed(3)
    query, candidates = random_path(generator, 4), [random_path(generator, 4) for _ in range(5)]
    scores = video_fov_scores(query, candidates, VideoFovConfig(balance=0.3))
    target, _ = brute_force(grid(1.0), query, query)
    for candidate, score in zip(candidates, scores, strict=True):
        seen, _ = brute_force(grid(1.0), candidate, query)
        overlap = (target & seen).sum() / (target | seen).sum()
        contain = (target & seen).sum() / target.sum()
        assert score.overlap == pytest.approx(overlap, abs=1e-12)
        assert score.contain == pytest.approx(contain, abs=1e-12)
        assert score.score == pytest.approx(0.3 * overlap + 0.7 * contain, abs=1e-12)


@pytest.mark.parametrize("motion", ["static", "pan_left", "sweep", "orbit_right", "dolly_out"])
def test_identical_path_scores_one(motion: str):
    path = make_preset(PresetConfig(motion, 30.0 if motion != "dolly_out" else 2.0, 9))
    assert video_fov_scores(path, [path]) == (FovScore(1.0, 1.0, 1.0),)


def test_the_world_may_be_turned_and_moved_without_changing_scores():
    query, other = (
        make_preset(PresetConfig("pan_left", 30.0, 9)),
        make_preset(PresetConfig("orbit_right", 20.0, 9)),
    )
    world = make_preset(PresetConfig("orbit_left", 77.0, 2)).c2w[1]
    placed_query, placed_other = (
        CameraTrajectory(world @ path.c2w, path.intrinsics) for path in (query, other)
    )
    plain, placed = (
        video_fov_scores(query, [other])[0],
        video_fov_scores(placed_query, [placed_other])[0],
    )
    assert placed.score == pytest.approx(plain.score, abs=1e-3), (
        "points on a border may fall on either side"
    )


def test_a_longer_pan_contains_a_shorter_one():
    short, long = (make_preset(PresetConfig("pan_left", angle, 9)) for angle in (15.0, 30.0))
    of_short, of_long = video_fov_scores(short, [long])[0], video_fov_scores(long, [short])[0]
    assert of_short.contain == 1.0
    assert of_short.overlap < 1.0
    assert of_long.contain == of_long.overlap == of_short.overlap
    assert of_short.score == 0.5 * of_short.overlap + 0.5


def test_opposite_views_share_nothing():
    behind = CameraTrajectory(
        torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0])).expand(3, 4, 4),
        static_trajectory(3).intrinsics,
    )
    assert video_fov_scores(static_trajectory(3), [behind]) == (FovScore(0.0, 0.0, 0.0),)


def test_share_of_the_sphere_is_that_of_the_lens():
    # A view of 90 x 90 degrees is one face of a cube; theta and phi weigh it as the grid does, so
    # count by hand.
    mask = video_fov_mask(static_trajectory(1, intrinsics_matrix(0.5, 0.5)), static_trajectory(1))
    assert mask.shape == (180, 360)
    assert mask.dtype == torch.bool
    middle_row, middle_column = mask[90], mask[:, 180]
    assert int(middle_row.sum()) == 90
    assert middle_row[135:225].all()
    assert int(middle_column.sum()) == 90
    assert middle_column[45:135].all()


def test_panorama_shows_left_on_the_left_and_up_on_top():
    def shift(motion: str) -> tuple[float, float]:
        path = make_preset(PresetConfig(motion, 20.0, 2)).frames((1,))
        rows, columns = (
            video_fov_mask(path, static_trajectory(1)).nonzero().double().mean(0).tolist()
        )
        return round(rows - 89.5), round(columns - 179.5)

    assert shift("static") == (0, 0)
    assert shift("pan_left") == (0, -20)
    assert shift("pan_right") == (0, 20)
    assert shift("tilt_up")[0] < -15
    assert shift("tilt_down")[0] > 15


def test_candidates_keep_their_order_and_may_be_none():
    query = make_preset(PresetConfig("pan_left", 30.0, 5))
    near, far = (make_preset(PresetConfig("pan_left", angle, 5)) for angle in (25.0, 5.0))
    forward = video_fov_scores(query, [near, far])
    assert forward == tuple(reversed(video_fov_scores(query, [far, near])))
    assert forward[0].score > forward[1].score
    assert video_fov_scores(query, []) == ()


def test_any_grid_size_works():
    path = make_preset(PresetConfig("pan_left", 30.0, 5))
    config = VideoFovConfig(num_rows=17, num_columns=31)
    assert video_fov_scores(path, [path], config)[0].score == 1.0
    assert sphere_points(config).shape == (17 * 31, 3)
    assert math.isclose(float(sphere_points(config).norm(dim=1).max()), 1.0)


def test_a_query_that_sees_no_point_is_refused():
    with pytest.raises(
        ValueError, match="sees 0 of 64800 sphere points, wanted at least 1; use a wider lens"
    ):
        video_fov_scores(
            static_trajectory(1, intrinsics_matrix(1e6, 1e6, 0.4, 0.4)), [static_trajectory(1)]
        )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_rows", 0, "num_rows got 0"),
        ("num_columns", -1, "num_columns got -1"),
        (
            "radius",
            0.0,
            "radius got 0.0, wanted a finite number above 0; use about the distance of what you",
        ),
        ("balance", 1.5, "balance got 1.5, wanted 0 to 1"),
    ],
)
def test_bad_settings_are_named(field: str, value: float, message: str):
    with pytest.raises(ValueError, match=message):
        VideoFovConfig(**{field: value})


def test_a_default_radius_is_named_where_cameras_move_and_something_is_chosen() -> None:
    moved, turned = (
        make_preset(PresetConfig(motion, amount, 5))
        for motion, amount in (("dolly_in", 0.6), ("pan_left", 40.0))
    )
    words = radius_remark([turned, turned, moved], 1.0)
    assert words.startswith("cameras move up to 0.6 pose units and radius is 1, its default")
    assert "4 fits novel_view_depth" in words
    assert radius_remark([turned, turned, moved], 4.0) == ""
    assert radius_remark([turned, turned, turned], 1.0) == ""
    assert radius_remark([turned, moved], 1.0) == ""
