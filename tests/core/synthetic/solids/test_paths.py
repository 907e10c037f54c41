"""Camera paths through scenes of solids, beside ReCamMaster's own."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

from memv2v_core.cameras.formats.detection import load_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, static_trajectory
from memv2v_core.synthetic.solids.paths import (
    KINDS,
    RECAMMASTER_KINDS,
    SolidPathsConfig,
    random_lens_deg,
    random_solid_path,
    random_solid_source,
    solid_path,
)

CONFIG = SolidPathsConfig()
IDENTITY = torch.eye(4, dtype=torch.float64)
# Where the last camera has gone (x, y, z) and where it looks (right, down), by sign.
DIRECTIONS = {
    "pan_right": ((0, 0, 0), (1, 0)),
    "pan_left": ((0, 0, 0), (-1, 0)),
    "tilt_up": ((0, 0, 0), (0, -1)),
    "tilt_down": ((0, 0, 0), (0, 1)),
    "dolly_in": ((0, 0, 1), (0, 0)),
    "dolly_out": ((0, 0, -1), (0, 0)),
    "rise": ((0, -1, 0), (0, 1)),
    "sink": ((0, 1, 0), (0, -1)),
    "orbit_left": ((-1, 0, 1), (1, 0)),
    "orbit_right": ((1, 0, 1), (-1, 0)),
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def signs(path: CameraTrajectory) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Signs of the last camera's place and of its view's direction, from the first camera."""
    last = path.relative_to(path).c2w[-1]
    small = 1e-4
    moved = torch.where(last[:3, 3].abs() > small, last[:3, 3], 0.0)
    ahead = torch.where(last[:2, 2].abs() > small, last[:2, 2], 0.0)
    return tuple(moved.sign().tolist()), tuple(ahead.sign().tolist())


def there(kind: str, seed: int, num_frames: int = 9) -> CameraTrajectory:
    """A path of a kind up to its farthest frame: some paths return."""
    path = solid_path(kind, CONFIG, num_frames, 60.0, generator(seed))
    far = (path.c2w - IDENTITY).flatten(1).norm(dim=1)
    return path.frames(tuple(range(int(far.argmax()) + 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_starts_at_the_first_camera_and_is_a_rotation(kind: str) -> None:
    for seed in range(12):
        path = solid_path(kind, CONFIG, 9, 60.0, generator(seed))
        torch.testing.assert_close(path.c2w[0], IDENTITY, atol=1e-12, rtol=0)
        rotation = path.c2w[:, :3, :3]
        torch.testing.assert_close(
            rotation @ rotation.mT, IDENTITY[:3, :3].expand(9, 3, 3), atol=1e-12, rtol=0
        )
        assert (torch.linalg.det(rotation) > 0).all()
        assert (path.intrinsics == path.intrinsics[0]).all()
        # Half of the picture is tan(30 degrees) wide at distance 1.
        assert path.intrinsics[0, 0, 0].item() == pytest.approx(0.8660254)


def test_recammasters_ten_kinds_are_there() -> None:
    assert len(set(RECAMMASTER_KINDS)) == 10
    assert tuple(DIRECTIONS) == RECAMMASTER_KINDS
    assert set(KINDS) - set(RECAMMASTER_KINDS) == {"roll_left", "roll_right", "sweep"}


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_a_path_goes_in_its_named_direction(kind: str) -> None:
    for seed in range(8):
        assert signs(there(kind, seed)) == DIRECTIONS[kind]


@pytest.mark.parametrize(("idx", "kind"), tuple(enumerate(RECAMMASTER_KINDS, start=1)))
def test_a_path_goes_as_recammasters_own_does(idx: int, kind: str) -> None:
    folder = os.environ.get("MEMV2V_TEST_DATA")
    if not folder:
        pytest.skip(
            "MEMV2V_TEST_DATA is unset; it names a folder with ReCamMaster's camera_extrinsics.json"
        )
    file = Path(folder) / "camera_extrinsics.json"
    if not file.is_file():
        pytest.skip(f"MEMV2V_TEST_DATA has no camera_extrinsics.json: {file}")
    assert len(json.loads(file.read_text())["frame0"]) == 10
    own = load_trajectory(file, camera=f"cam{idx:02}")
    assert signs(own) == signs(there(kind, 0)) == DIRECTIONS[kind]


def test_translations_and_arcs_look_at_the_point_they_aim_at() -> None:
    """The point straight ahead of the first camera stays in the middle of the picture."""
    for kind in ("rise", "sink", "orbit_left", "orbit_right"):
        for seed in range(8):
            path = there(kind, seed)
            last = path.c2w[-1]
            # Where the view meets the axis x = y = 0.
            ahead, place = last[:3, 2], last[:3, 3]
            axis = 1 if kind in ("rise", "sink") else 0
            way = -place[axis] / ahead[axis]
            met = place + way * ahead
            assert met[:2].abs().max() < 1e-9
            assert CONFIG.aim[0] <= met[2] <= CONFIG.aim[1]


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("pan_left", 15, 45), ("tilt_up", 5, 16), ("roll_left", 4, 12), ("orbit_left", 6, 18)],
)
def test_angles_fill_their_range(kind: str, low: float, high: float) -> None:
    found = []
    for seed in range(60):
        rotation = there(kind, seed).c2w[-1, :3, :3]
        cosine = ((rotation.trace() - 1) / 2).clamp(-1, 1)
        found.append(torch.rad2deg(torch.acos(cosine)).item())
    # A path that returns may turn back between two frames.
    assert low - 1e-6 <= min(found) < low + 0.25 * (high - low)
    assert high - 0.25 * (high - low) < max(found) <= high + 1e-6


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("dolly_in", 0.25, 0.9), ("rise", 0.15, 0.5), ("sink", 0.15, 0.5)]
)
def test_lengths_fill_their_range(kind: str, low: float, high: float) -> None:
    found = [there(kind, seed).c2w[-1, :3, 3].norm().item() for seed in range(60)]
    assert low - 1e-6 <= min(found) < low + 0.25 * (high - low)
    assert high - 0.25 * (high - low) < max(found) <= high + 1e-6


def test_some_paths_return_to_the_first_camera() -> None:
    paths = [solid_path("dolly_in", CONFIG, 9, 60.0, generator(seed)) for seed in range(100)]
    returned = [bool((path.c2w[-1] - IDENTITY).abs().max() < 1e-9) for path in paths]
    assert 8 < sum(returned) < 35  # a fifth of them
    sweeps = [solid_path("sweep", CONFIG, 9, 60.0, generator(seed)) for seed in range(30)]
    assert all((path.c2w[-1] - IDENTITY).abs().max() > 0.1 for path in sweeps)


def test_a_random_path_may_pan_or_tilt_beside_its_own_kind() -> None:
    for seed in range(20):
        alone = SolidPathsConfig(second_share=0.0)
        path = random_solid_path(alone, 9, 60.0, generator(seed), kinds=("dolly_in",))
        torch.testing.assert_close(path.c2w[:, :3, :3], IDENTITY[:3, :3].expand(9, 3, 3))
        both = SolidPathsConfig(second_share=1.0)
        turned = random_solid_path(both, 9, 60.0, generator(seed), kinds=("dolly_in",))
        torch.testing.assert_close(turned.c2w[:, :3, 3], path.c2w[:, :3, 3])
        assert (turned.c2w[:, :3, :3] - IDENTITY[:3, :3]).abs().max() > 0.05
        torch.testing.assert_close(turned.c2w[0], IDENTITY, atol=1e-12, rtol=0)
    kept = random_solid_path(CONFIG, 9, 60.0, generator(3))
    assert torch.equal(kept.c2w, random_solid_path(CONFIG, 9, 60.0, generator(3)).c2w)


def test_a_source_starts_at_the_origin_and_moves_little() -> None:
    for seed in range(20):
        path = random_solid_source(CONFIG, 9, 60.0, generator(seed))
        torch.testing.assert_close(path.c2w[0], IDENTITY, atol=1e-12, rtol=0)
        place, ahead = path.c2w[:, :3, 3], path.c2w[:, :3, 2]
        assert place.abs().amax(0)[[0, 2]].max() <= 0.2
        assert place[:, 1].abs().max() <= 0.08 + 1e-9
        # 5 degrees across and 3 up or down.
        assert torch.rad2deg(torch.acos(ahead[:, 2].clamp(max=1))).max() < 5.9
        assert place[-1].norm() > 0


def test_lenses_are_usually_of_60_degrees() -> None:
    draws = generator(0)
    lenses = [random_lens_deg(CONFIG, draws) for _ in range(300)]
    assert 140 < lenses.count(60.0) < 220
    assert 50 <= min(lenses) < 53
    assert 67 < max(lenses) <= 70


@pytest.mark.parametrize("fields", [{"pan_deg": (45.0, 15.0)}, {"dolly": (-0.5, 0.5)}])
def test_ranges_that_hold_nothing_are_errors(fields: dict[str, tuple[float, float]]) -> None:
    (name,) = fields
    with pytest.raises(ValueError, match=f"{name} got .*, wanted the lowest number, at least 0"):
        SolidPathsConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"lens_deg": (50.0, 400.0)},
            r"lens_deg got \[50.0, 400.0\], wanted .* at most 170; change",
        ),
        (
            {"lens_deg": (0.0, 0.0)},
            r"lens_deg got \[0.0, 0.0\], wanted degrees above 0, at most 170",
        ),
        ({"aim": (0.0, 4.0)}, r"aim got \[0.0, 4.0\], wanted pose units above 0, at most 100"),
        (
            {"tilt_deg": (5.0, 91.0)},
            r"tilt_deg got \[5.0, 91.0\], wanted degrees of at least 0, at ",
        ),
        (
            {"dolly": (0.2, math.inf)},
            r"dolly got \[0.2, inf\], wanted pose units of at least 0, at ",
        ),
        ({"rise": (math.nan, 0.5)}, r"rise got \[nan, 0.5\], wanted the lowest number, at least 0"),
        ({"usual_share": 3.0}, "usual_share got 3.0, wanted a share from 0 to 1; 0.6 is usual"),
        ({"second_share": -1.0}, "second_share got -1.0, wanted a share from 0 to 1"),
        ({"second_share": math.nan}, "second_share got nan"),
        ({"source_turn_deg": math.nan}, "source_turn_deg got nan, wanted degrees of at least 0"),
        ({"source_turn_deg": -1.0}, "source_turn_deg got -1.0, wanted degrees of at least 0, at "),
        ({"source_shift": math.inf}, "source_shift got inf, wanted pose units of at least 0, at "),
    ],
)
def test_numbers_out_of_range_are_errors(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SolidPathsConfig(**fields)


def test_a_move_of_nothing_is_no_error() -> None:
    still = SolidPathsConfig(dolly=(0.0, 0.0), source_turn_deg=0.0, source_shift=0.0)
    assert torch.equal(solid_path("dolly_in", still, 3, 60.0, generator(0)).c2w[2], IDENTITY)
    assert random_solid_source(still, 3, 60.0, generator(0)).c2w[2].allclose(IDENTITY)


def test_the_reach_is_the_farthest_that_any_path_goes() -> None:
    reach = CONFIG.reach
    assert (reach.sideways, reach.vertical, reach.forward) == (1.2361, 0.5, 0.9)
    paths = [random_solid_path(CONFIG, 9, 60.0, generator(seed)) for seed in range(300)]
    far = torch.stack([path.c2w[:, :3, 3].abs().amax(0) for path in paths]).amax(0)
    limits = torch.tensor([reach.sideways, reach.vertical, reach.forward], dtype=far.dtype)
    assert (far <= limits + 1e-4).all()
    assert (far > 0.9 * limits).all()
    still = static_trajectory(9)
    assert not any(reach.remark(path, still) for path in paths)
    # Beyond a quarter turn an arc goes no farther to the side.
    wide = SolidPathsConfig(orbit_deg=(6.0, 180.0), aim=(2.0, 2.0)).reach
    assert (wide.sideways, wide.forward) == (2.0, 4.0)
