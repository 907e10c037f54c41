"""What paths see, against a test of every point in every frame, bit for bit.

The literal reading rounds as Alg. 1 does when it is written out, so that points which lie exactly
on the border of a picture count too.
"""

import math
import tracemalloc

import numpy as np
import pytest
import torch

from memv2v_core.cache.entry import MemoryEntry
from memv2v_core.cache.memory_cache import MemoryCache
from memv2v_core.cameras.presets import MOTIONS, PresetConfig, make_preset
from memv2v_core.cameras.trajectory import (
    CameraTrajectory,
    default_intrinsics,
    intrinsics_matrix,
    static_trajectory,
)
from memv2v_core.retrieval import footprints
from memv2v_core.retrieval.selection import retrieve_by_fov
from memv2v_core.retrieval.video_fov import (
    VideoFovConfig,
    sphere_points,
    video_fov_mask,
    video_fov_masks,
    video_fov_scores,
)

PAPER = (180, 360)
GRIDS = ((1, 1), (1, 2), (2, 1), (3, 5), (17, 31), (36, 72), (64, 64), (65, 129), (90, 180), PAPER)
RADII = (1.0, 1.0, 0.7, 1e-3, 1e3)


def literal(
    path: CameraTrajectory, reference: CameraTrajectory, config: VideoFovConfig
) -> np.ndarray:
    """True (rows, columns) at points that any frame sees: every point in every frame."""
    points = sphere_points(config).numpy().T
    turn, centre = reference.c2w[0, :3, :3].numpy(), reference.c2w[0, :3, 3].numpy()
    seen = np.zeros(points.shape[1], bool)
    with np.errstate(all="ignore"):
        for c2w, lens in zip(path.c2w.numpy(), path.intrinsics.numpy(), strict=True):
            moved = c2w[:3, 3] - centre
            rotation = [[dot(turn[:, i], c2w[:3, j]) for j in range(3)] for i in range(3)]
            place = [dot(turn[:, i], moved) for i in range(3)]
            offset = [points[i] - place[i] for i in range(3)]
            x, y, z = (dot(offset, [rotation[i][j] for i in range(3)]) for j in range(3))
            u, v = (dot((x / z, y / z, z / z), lens[row]) for row in range(2))
            seen |= (z > 0) & (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    return seen.reshape(config.num_rows, config.num_columns)


def dot(first, second):
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


class Dice:
    """Random choices of one seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def number(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand(1, generator=self.generator))

    def whole(self, count: int) -> int:
        return int(torch.randint(count, (1,), generator=self.generator))

    def one_of(self, *values):
        return values[self.whole(len(values))]

    def normal(self, *size: int) -> torch.Tensor:
        return torch.randn(*size, generator=self.generator, dtype=torch.float64)


def turned(axis: int, angle_deg: float) -> torch.Tensor:
    vector = torch.zeros(3, dtype=torch.float64)
    vector[axis] = math.radians(angle_deg)
    return rotation(vector)


def rotation(vectors: torch.Tensor) -> torch.Tensor:
    """Matrices (..., 3, 3) of rotation vectors (..., 3)."""
    skew = torch.zeros(*vectors.shape, 3, dtype=torch.float64)
    skew[..., 0, 1], skew[..., 0, 2] = -vectors[..., 2], vectors[..., 1]
    skew[..., 1, 2] = -vectors[..., 0]
    return torch.matrix_exp(skew - skew.transpose(-1, -2))


def hard_camera(dice: Dice, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera whose borders, centre or numbers are made to be difficult."""
    c2w = torch.eye(4, dtype=torch.float64)
    # Whole and half degrees put borders on points, right angles put planes on the axis.
    c2w[:3, :3] = dice.one_of(
        turned(1, dice.whole(721) / 2) @ turned(0, dice.whole(361) / 2 - 90),
        turned(0, dice.one_of(-90.0, 90.0)) @ turned(2, 45.0 * dice.whole(8)),
        turned(1, 45.0 * dice.whole(8)) @ turned(0, 45.0 * dice.whole(8)),
        rotation(dice.normal(3) * 2),
        torch.eye(3, dtype=torch.float64),
    )
    direction = torch.nn.functional.normalize(dice.normal(3), dim=0)
    # At the centre, inside, on the sphere, outside, far away, on a point.
    c2w[:3, 3] = dice.one_of(
        0 * direction,
        0.5 * direction,
        direction,
        torch.eye(3, dtype=torch.float64)[dice.whole(3)],
        3 * direction,
        10.0 ** dice.whole(12) * direction,
        points[dice.whole(len(points))],
    )
    focal = dice.one_of(0.5, 1.0, dice.number(0.2, 3), 10.0 ** (dice.whole(14) - 7))
    lens = intrinsics_matrix(
        focal * dice.one_of(1, 1, 1, -1),
        dice.one_of(focal, 0.5, dice.number(0.2, 3)),
        dice.one_of(0.5, 0.5, 0.0, dice.number(-3, 3)),
        dice.one_of(0.5, 0.5, 1.0, dice.number(-3, 3)),
    )
    lens[0, 1] = dice.one_of(0.0, 0.0, 0.0, dice.number(-1, 1))
    # Numbers that overflow, and a lens that maps everything to one place.
    flaw = dice.whole(60)
    if flaw == 0:
        c2w[:3, 3] *= 1e200
    elif flaw == 1:
        lens[:2] *= 1e160
    elif flaw == 2:
        lens[0] = 0.0
    return c2w, lens


def hard_path(dice: Dice, points: torch.Tensor) -> CameraTrajectory:
    cameras = [hard_camera(dice, points) for _ in range(dice.whole(6) + 1)]
    cameras += [dice.one_of(*cameras)] * dice.whole(3)
    return CameraTrajectory(*(torch.stack(part) for part in zip(*cameras, strict=True)))


def real_path(dice: Dice, num_frames: int) -> CameraTrajectory:
    """A preset anywhere in the world, still or by hand, with a lens that may zoom."""
    motion = dice.one_of(*MOTIONS)
    far = 2.0 if "dolly" in motion else 120.0
    preset = PresetConfig(motion, dice.number(0, far), num_frames, returns=dice.whole(2) == 0)
    lens = intrinsics_matrix(dice.number(0.3, 3), dice.number(0.3, 3))
    path = make_preset(preset, lens)
    world = torch.eye(4, dtype=torch.float64)
    world[:3, :3], world[:3, 3] = (
        rotation(dice.normal(3)),
        dice.one_of(0.0, 0.3, 2.0) * dice.normal(3),
    )
    shake = torch.eye(4, dtype=torch.float64).repeat(num_frames, 1, 1)
    shake[:, :3, :3] = rotation(dice.one_of(0.0, 0.01) * dice.normal(num_frames, 3))
    shake[:, :3, 3] = dice.one_of(0.0, 0.01) * dice.normal(num_frames, 3)
    zoom = torch.linspace(1, dice.one_of(1.0, 3.0), num_frames, dtype=torch.float64)
    intrinsics = path.intrinsics.clone()
    intrinsics[:, 0, 0] *= zoom
    intrinsics[:, 1, 1] *= zoom
    return CameraTrajectory(world @ path.c2w @ shake, intrinsics)


def require_literal(seed: int, grid: tuple[int, int], num_paths: int, num_frames: int) -> int:
    """Compare random paths, together and alone; how many points they saw."""
    dice = Dice(seed)
    config = VideoFovConfig(*grid, radius=dice.one_of(*RADII))
    points = sphere_points(config)
    paths = [
        dice.one_of(hard_path(dice, points), real_path(dice, num_frames)) for _ in range(num_paths)
    ]
    reference = dice.one_of(paths[0], static_trajectory(1))
    masks = video_fov_masks(paths, reference, config).numpy()
    for idx, (path, mask) in enumerate(zip(paths, masks, strict=True)):
        expected = literal(path, reference, config)
        assert np.array_equal(mask, expected), (
            f"path {idx} of seed {seed} differs in {(mask != expected).sum()} points"
        )
        alone = video_fov_mask(path, reference, config).numpy()
        assert np.array_equal(mask, alone), f"path {idx} of seed {seed} depends on the others"
    return int(masks.sum())


@pytest.mark.parametrize("grid", GRIDS[:-1], ids=str)
def test_masks_equal_the_literal_reading_on_hard_and_real_paths(grid: tuple[int, int]) -> None:
    seen = [require_literal(seed, grid, 3, 5) for seed in range(25)]
    assert sum(seen) > 0


def test_masks_equal_the_literal_reading_on_the_grid_of_the_paper() -> None:
    assert all(require_literal(1000 + seed, PAPER, 2, 9) >= 0 for seed in range(12))


@pytest.mark.slow
def test_masks_equal_the_literal_reading_on_600_paths_of_the_paper() -> None:
    assert all(require_literal(5000 + seed, PAPER, 4, 17) >= 0 for seed in range(150))


def test_borders_on_points_are_projected() -> None:
    """A lens of 90 degrees that looks half a degree aside has points on its left and right."""
    path = make_preset(PresetConfig("pan_left", 0.5, 2), intrinsics_matrix(0.5, 0.5)).frames((1,))
    config = VideoFovConfig()
    mask = video_fov_mask(path, static_trajectory(1), config).numpy()
    assert np.array_equal(mask, literal(path, static_trajectory(1), config))
    # 0.5 aside, columns 134 and 224 lie on the borders up to rounding, those between inside.
    assert mask[90, 135:224].all()
    assert not mask[90, 133]
    assert not mask[90, 225]


def test_a_camera_outside_sees_both_sides_of_the_sphere() -> None:
    c2w = torch.eye(4, dtype=torch.float64)[None].clone()
    c2w[0, 2, 3] = -5.0
    path = CameraTrajectory(c2w, intrinsics_matrix(0.5, 0.5)[None])
    assert video_fov_mask(path, static_trajectory(1)).all()


def test_pieces_of_a_long_path_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [real_path(Dice(seed), num_frames) for seed, num_frames in enumerate((3, 50, 1, 7, 7))]
    whole = video_fov_masks(paths, paths[0])
    monkeypatch.setattr(footprints, "_FRAMES_AT_ONCE", 8)
    monkeypatch.setattr(footprints, "_PAIRS_AT_ONCE", 50)
    monkeypatch.setattr(footprints, "_POINTS_AT_ONCE", 20)
    assert [len(block) for block in footprints.blocks(paths)] == [1, 1, 1, 1, 1]
    assert torch.equal(video_fov_masks(paths, paths[0]), whole)


def test_blocks_hold_every_path_once_and_few_frames() -> None:
    paths = [static_trajectory(count) for count in (81,) * 60 + (5000, 1, 1)]
    blocks = list(footprints.blocks(paths))
    assert [idx for block in blocks for idx in block] == list(range(63))
    sizes = [len(block) * max(paths[idx].num_frames for idx in block) for block in blocks]
    assert all(size <= 2048 for size in sizes if size != 5000)
    assert list(footprints.blocks([])) == []


def test_equal_paths_have_equal_scores_wherever_they_lie() -> None:
    """Newer entries win ties, so a rounding that depends on the place would choose another one."""
    dice = Dice(3)
    others = [real_path(dice, 5) for _ in range(7)]
    query = make_preset(PresetConfig("pan_left", 30.0, 5), intrinsics_matrix(0.5, 0.5))
    shifted = make_preset(PresetConfig("orbit_left", 20.0, 5))
    bank = [shifted, *others, shifted, query, *others[:2], shifted, query]
    scores = video_fov_scores(query, bank)
    assert scores[0] == scores[8] == scores[12]
    assert scores[9] == scores[13]
    assert scores[9].score == 1.0


def test_the_best_k_are_those_of_scoring_every_point() -> None:
    """All entries are scored, so pins and ties are decided as by the literal reading."""
    dice = Dice(11)
    grid = VideoFovConfig(90, 180)
    query = real_path(dice, 9)
    paths = [
        CameraTrajectory(query.c2w[:1] @ path.c2w, path.intrinsics)
        for path in (make_preset(PresetConfig("sweep", 7.0 * i, 9)) for i in range(20))
    ]
    # Copies tie with what they copy.
    paths += paths[3:9]
    target = literal(query, query, grid)

    def score(path: CameraTrajectory) -> float:
        seen = literal(path, query, grid)
        both = (seen & target).sum()
        return 0.5 * both / (seen | target).sum() + 0.5 * both / target.sum()

    scores = [score(path) for path in paths]
    cache = MemoryCache("m", tuple(bank_entry(i, path) for i, path in enumerate(paths)))
    expected = sorted(range(len(paths)), key=lambda idx: (-scores[idx], -idx))
    for k in (1, 3, 10, 26):
        retrieval = retrieve_by_fov(cache, query, k, grid)
        found = [item.entry.turn - 1 for item in (*retrieval.ranked, *retrieval.rejected)]
        assert found == expected
        assert len(retrieval.ranked) == k
    assert retrieval.ranked[0].score == pytest.approx(max(scores), abs=1e-15)
    assert max(scores) > 0


def bank_entry(idx: int, path: CameraTrajectory) -> MemoryEntry:
    latent = torch.full((4, 3, 2, 2), float(idx))
    return MemoryEntry.of(latent, path, "m", path.num_frames, idx + 1, float(idx))


def test_memory_does_not_grow_with_the_number_of_paths() -> None:
    paths = [real_path(Dice(seed), 81) for seed in range(6)]

    def peak_bytes(count: int) -> int:
        bank = paths * (count // len(paths))
        video_fov_scores(paths[0], bank[:1])
        tracemalloc.start()
        video_fov_scores(paths[0], bank)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(60), peak_bytes(240)
    # Only the scores themselves add up.
    assert many < 1.2 * few + 300 * 200
    assert many < 60 * 2**20


def test_many_repeats_cost_one_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    original = footprints._planes

    def watched(grid, cameras):
        counted.append(len(cameras.c2w))
        return original(grid, cameras)

    monkeypatch.setattr(footprints, "_planes", watched)
    still = static_trajectory(81)
    moved = CameraTrajectory(still.c2w.clone(), default_intrinsics(81))
    moved.c2w[40:, 0, 3] = 0.5
    video_fov_masks([still, moved], still)
    assert counted == [3]
