"""Random scenes of solids."""

import math

import pytest
import torch
from instruments.solid_scenes import made_scene

from memv2v_core.evaluation.held_out_seeds import HELD_OUT_SEED
from memv2v_core.synthetic import demo_clips, panoramas
from memv2v_core.synthetic.solids.casting import turn_about_vertical
from memv2v_core.synthetic.solids.making import (
    DEMO_SEED_OFFSET,
    SolidsConfig,
    demo_solid_scene,
)
from memv2v_core.synthetic.solids.paths import (
    KINDS,
    SolidPathsConfig,
    random_solid_path,
    random_solid_source,
    solid_path,
)
from memv2v_core.synthetic.solids.scene import SolidScene
from memv2v_core.synthetic.solids.things import INDOORS, MOVING, OUTDOORS
from memv2v_core.training.seeds import seeded

SCENES = range(60)


@pytest.fixture(scope="module")
def scenes() -> list[SolidScene]:
    return [made_scene(seed) for seed in SCENES]


@pytest.fixture(scope="module")
def camera_places() -> torch.Tensor:
    """Where cameras of every kind of path go, (N, 3)."""
    config, draws = SolidPathsConfig(), torch.Generator().manual_seed(0)
    paths = [solid_path(kind, config, 5, 60.0, draws) for kind in KINDS for _ in range(25)]
    paths += [random_solid_path(config, 5, 60.0, draws) for _ in range(60)]
    paths += [random_solid_source(config, 5, 60.0, draws) for _ in range(40)]
    return torch.cat([path.c2w[:, :3, 3] for path in paths]).float()


def is_room(scene: SolidScene) -> bool:
    return bool(scene.walls.isfinite().all())


def feet(scene: SolidScene) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (N, 2) on the ground and radii (N,) of the things."""
    is_first = scene.shadow > 0
    return scene.centre[is_first][:, [0, 2]], scene.shadow[is_first]


def test_scenes_have_as_many_things_as_asked_for(scenes: list[SolidScene]) -> None:
    """Out of doors all of them find a place, in a room at most a few do not."""
    open_air = [len(scene.names) for scene in scenes if not is_room(scene)]
    rooms = [len(scene.names) for scene in scenes if is_room(scene)]
    assert set(open_air) == {8, 9, 10, 11, 12}
    assert min(rooms) >= 6
    assert max(rooms) <= 12
    assert sum(rooms) / len(rooms) > 8.5
    assert 12 < len(rooms) < 36  # of 60, at a share of 0.4
    two = made_scene(1, min_things=2, max_things=2, min_moving=0, max_moving=0)
    assert len(two.names) == 2
    assert not two.swing.any()


def test_things_are_of_their_place_and_all_of_them_appear(scenes: list[SolidScene]) -> None:
    for wanted, names in ((True, {*INDOORS, *MOVING}), (False, {*OUTDOORS, *MOVING})):
        found = {name for scene in scenes if is_room(scene) == wanted for name in scene.names}
        # A car rarely finds a place in a room.
        assert names - {"car"} <= found <= names
    # One or two of them move; in a room there may be no place for one.
    for scene in scenes:
        moving = (scene.swing.abs().amax(1) > 0)[scene.shadow > 0].sum()
        assert 0 <= moving <= 2


def test_things_stand_apart_and_within_the_range(scenes: list[SolidScene]) -> None:
    for scene in scenes:
        places, radii = feet(scene)
        gap = torch.cdist(places, places) - radii - radii[:, None]
        # A first solid may stand 3 hundredths off its thing's foot.
        assert gap.fill_diagonal_(1.0).min() > 0.1
        far = places.norm(dim=1) - radii
        assert far.min() > 2.2 - 0.04
        assert far.max() < 7.0 + 0.04
        azimuth = torch.rad2deg(torch.atan2(places[:, 0], places[:, 1])).abs()
        assert azimuth.max() < 106


def test_nothing_lies_under_the_floor_or_behind_a_wall(scenes: list[SolidScene]) -> None:
    moments = torch.linspace(0, 28, 29)
    for scene in scenes:
        bottoms = scene.centres(moments)[..., 1] + scene.size[:, 1]
        assert bottoms.max() < scene.walls[3] + 1e-4
        centres = scene.centre
        if is_room(scene):
            low, high = scene.walls[0::2], scene.walls[1::2]
            is_wide = torch.tensor([0, 2])
            assert (centres[:, is_wide] > low[is_wide]).all()
            assert (centres[:, is_wide] < high[is_wide]).all()


def test_no_thing_stands_where_cameras_go(
    scenes: list[SolidScene], camera_places: torch.Tensor
) -> None:
    """At every moment a camera is half a pose unit away from every solid, and from the walls."""
    assert camera_places.norm(dim=1).max() < 1.26  # an arc of 18 degrees about a point at 4
    moments = torch.linspace(0, 28, 15)
    for scene in scenes[:30]:
        centres = scene.centres(moments).flatten(0, 1)
        yaw = scene.yaw.repeat(len(moments))[:, None]
        own = turn_about_vertical(camera_places - centres[:, None], yaw.cos(), -yaw.sin())
        # A cone's box is as wide as its wider end.
        wide = torch.where(scene.kind == 2, scene.size[:, [0, 2]].amax(1), scene.size[:, 0])
        deep = torch.where(scene.kind == 2, wide, scene.size[:, 2])
        half = torch.stack((wide, scene.size[:, 1], deep), dim=1).repeat(len(moments), 1)
        apart = (own.abs() - half[:, None]).clamp(min=0).norm(dim=-1)
        assert apart.min() > 0.5
        for axis in range(3):
            assert (camera_places[:, axis] - scene.walls[2 * axis]).min() > 0.4
            assert (scene.walls[2 * axis + 1] - camera_places[:, axis]).min() > 0.4


def test_a_generator_makes_the_same_scene_again() -> None:
    one, again = made_scene(17), made_scene(17)
    for name, value in vars(one).items():
        other = getattr(again, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
    assert not torch.equal(one.sky, made_scene(18).sky)


def test_a_seed_draws_the_scene_that_training_saw() -> None:
    """Another order of draws would be another training than that of the shipped model."""
    scene = made_scene(0)
    wanted = ("lamp", "house", "ball", "crate", "crate", "column", "crate", "crate", "balloon")
    assert scene.names == wanted
    assert scene.walls[3].item() == pytest.approx(1.25728869, abs=1e-6)
    assert scene.centre[0].tolist() == pytest.approx(
        [-1.54603708, 0.89043665, 2.08663583], abs=1e-6
    )
    assert scene.sky.mean().item() == pytest.approx(0.6000205, abs=1e-6)


def test_seeds_of_demonstrations_are_those_of_no_other_part() -> None:
    """Training stays below all of them; panoramas, solids, clips and held-out seeds follow."""
    offsets = [
        panoramas.DEMO_SEED_OFFSET,
        DEMO_SEED_OFFSET,
        demo_clips.DEMO_SEED_OFFSET,
        HELD_OUT_SEED,
    ]
    assert offsets == sorted(set(offsets))
    assert min(b - a for a, b in zip(offsets, offsets[1:], strict=False)) > 10_000_000
    drawn = [seeded(seed, "solids", i).initial_seed() for seed in range(20) for i in range(50)]
    assert max(drawn) < panoramas.DEMO_SEED_OFFSET


def test_a_demonstration_is_the_scene_of_its_number() -> None:
    one, expected = demo_solid_scene(5), made_scene(DEMO_SEED_OFFSET + 5)
    assert torch.equal(one.centre, expected.centre)
    assert torch.equal(one.colour, expected.colour)
    assert not torch.equal(one.sky, demo_solid_scene(6).sky)
    assert is_room(demo_solid_scene(0, SolidsConfig(room_share=1.0)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"room_share": 1.5}, "room_share got 1.5, wanted a share from 0 to 1"),
        ({"min_things": 0}, "min_things got 0 with max_things 10, wanted 1 <= min_things"),
        ({"max_things": 3}, "min_things got 7 with max_things 3"),
        ({"min_moving": 4}, "min_moving got 4 with max_moving 2"),
        ({"nearest": 9.0}, "nearest got 9.0 with farthest 7.0"),
        ({"nearest": math.nan}, "nearest got nan with farthest 7.0"),
        ({"farthest": math.inf}, "farthest got inf, wanted a finite number of pose units; 7 is"),
        (
            {"nearest": 50.0, "farthest": 60.0},
            "nearest got 50.0 with room_share 0.4, wanted at most 3.5 .*; lower it, or set room_sh",
        ),
        ({"half_angle_deg": -5.0}, "half_angle_deg got -5.0, wanted an angle above 0, at most 180"),
        ({"half_angle_deg": 0.0}, "half_angle_deg got 0.0, wanted an angle above 0"),
        ({"half_angle_deg": 720.0}, "half_angle_deg got 720.0, wanted .*; 105 is usual"),
        ({"half_angle_deg": math.nan}, "half_angle_deg got nan"),
    ],
)
def test_ranges_that_hold_nothing_are_errors(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SolidsConfig(**fields)


def test_a_range_at_its_limit_still_makes_scenes() -> None:
    """Every room holds things where they begin as far away as is allowed."""
    rooms = [made_scene(seed, room_share=1.0, nearest=3.5) for seed in range(12)]
    assert all(is_room(scene) for scene in rooms)
    assert min(len(scene.names) for scene in rooms) >= 2
    # Without rooms things may begin farther away.
    far = made_scene(0, room_share=0.0, nearest=50.0, farthest=60.0)
    places, radii = feet(far)
    assert (places.norm(dim=1) - radii).min() > 50 - 0.04
    assert len(made_scene(0, half_angle_deg=180.0).names) >= 7
