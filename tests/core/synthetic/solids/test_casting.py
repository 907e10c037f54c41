"""Where rays meet solids and walls."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from instruments.solid_scenes import (
    INFINITE,
    OUTDOORS,
    RED,
    ROOM,
    ball,
    fullness,
    made_scene,
    scene_of,
    standing,
)

from memv2v_core.synthetic.solids.casting import Hits, cast_rays, turn_about_vertical, unit
from memv2v_core.synthetic.solids.scene import Motion, Solid, SolidKind, SolidScene, Vector

# Nothing stands in the way, and no wall.
EMPTY = (-INFINITE, INFINITE) * 3
STEP, REACH = 2e-3, 8.0
FULL_KINDS: tuple[SolidKind, ...] = ("ellipsoid", "box", "cone")


def cast(scene: SolidScene, origin: Vector, directions: torch.Tensor, moment: float = 0.0) -> Hits:
    """One frame, in float64: the exact answer."""
    scene = scene.to(dtype=torch.float64)
    return cast_rays(
        scene,
        torch.tensor([moment]),
        torch.tensor([origin], dtype=torch.float64),
        directions.double()[None],
    )


def towards(*points: Vector, origin: Vector = (0.0, 0.0, 0.0)) -> torch.Tensor:
    """Unit directions (N, 3) from the origin to these points."""
    ways = torch.tensor(points, dtype=torch.float64) - torch.tensor(origin, dtype=torch.float64)
    return F.normalize(ways, dim=-1)


def random_solid(kind: SolidKind, seed: int) -> tuple[Solid, float]:
    """A solid within 2 pose units of the origin, and the yaw of its thing."""
    draws = random.Random(f"{kind} {seed}")
    centre = tuple(draws.uniform(-1, 1) for _ in range(3))
    size = tuple(draws.uniform(0.2, 1.0) for _ in range(3))
    if kind == "cone" and seed % 3 == 0:
        size = (*size[:2], 0.0)
    return Solid(kind, centre, size, RED), draws.uniform(-math.pi, math.pi)


def random_directions(count: int, seed: int) -> torch.Tensor:
    """Unit directions (N, 3) within about 40 degrees of +Z."""
    draws = torch.Generator().manual_seed(seed)
    across = 1.2 * (torch.rand(count, 2, generator=draws, dtype=torch.float64) - 0.5)
    return F.normalize(torch.cat((across, torch.ones(count, 1)), dim=1), dim=-1)


def aimed_at(solid: Solid, yaw: float, origin: Vector, seed: int) -> torch.Tensor:
    """Unit directions (N, 3) through a cube around a solid, a little larger than its extent."""
    draws = torch.Generator().manual_seed(seed)
    spread = 2.4 * torch.rand(250, 3, generator=draws, dtype=torch.float64) - 1.2
    x, y, z = solid.centre
    cos, sin = math.cos(yaw), math.sin(yaw)
    centre = torch.tensor((cos * x + sin * z, y, cos * z - sin * x), dtype=torch.float64)
    reach = 0.9 * max(solid.size)
    return F.normalize(centre + reach * spread - torch.tensor(origin).double(), dim=-1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", FULL_KINDS)
def test_a_ray_ends_where_a_march_first_enters_the_solid(kind: SolidKind, seed: int) -> None:
    solid, yaw = random_solid(kind, seed)
    origin = (0.25, -0.75 + 0.5 * seed, -4.0)
    directions = aimed_at(solid, yaw, origin, seed)
    hits = cast(scene_of(standing(solid, yaw), extents=EMPTY), origin, directions)
    met = hits.distance[0]
    # Step 1: the march, in steps of 2 thousandths.
    steps = torch.arange(STEP, REACH, STEP, dtype=torch.float64)
    places = torch.tensor(origin).double() + steps[:, None, None] * directions  # (S, N, 3)
    is_inside = fullness(solid, yaw, places) <= 1
    is_found = is_inside.any(0)
    entered = steps[is_inside.to(torch.uint8).argmax(0)]
    assert 40 < is_found.sum() < 245
    # Step 2: the same distance, at most one step earlier.
    early = (entered - met)[is_found]
    assert (early > -1e-6).all()
    assert (early < STEP + 1e-6).all()
    # Step 3: what the march missed is a chord shorter than a step; every place is on the surface.
    is_met = met < INFINITE
    assert (is_met & ~is_found).sum() <= 5
    ends = torch.tensor(origin).double() + met[is_met, None] * directions[is_met]
    assert (fullness(solid, yaw, ends) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", FULL_KINDS)
def test_normals_stand_on_the_surface_and_face_the_camera(kind: SolidKind, seed: int) -> None:
    solid, yaw = random_solid(kind, seed)
    scene, origin = scene_of(standing(solid, yaw), extents=EMPTY), (0.25, -1.5, -4.0)
    directions = aimed_at(solid, yaw, origin, seed)
    # Rays turned by a millionth about two axes meet the surface beside the first place.
    side = F.normalize(torch.linalg.cross(directions, torch.tensor([[0.0, 1, 0]]).double()), dim=-1)
    up = torch.linalg.cross(side, directions)
    shifted = [F.normalize(directions + 1e-6 * way, dim=-1) for way in (side, up)]
    first, *beside = (cast(scene, origin, rays) for rays in (directions, *shifted))
    ends = [
        torch.tensor(origin).double() + hits.distance[0, :, None] * rays
        for hits, rays in zip((first, *beside), (directions, *shifted), strict=True)
    ]
    normal = F.normalize(torch.linalg.cross(ends[1] - ends[0], ends[2] - ends[0]), dim=-1)
    normal = normal * -torch.sign((normal * directions).sum(-1, keepdim=True))
    # Three places of one smooth face: not across an edge, nor at a silhouette.
    is_smooth = torch.stack([hits.distance[0] < INFINITE for hits in (first, *beside)]).all(0)
    is_smooth &= (ends[1] - ends[0]).norm(dim=-1) < 3e-5
    is_smooth &= (ends[2] - ends[0]).norm(dim=-1) < 3e-5
    assert is_smooth.sum() > 50
    close = (first.normal[0] * normal).sum(-1)[is_smooth]
    # A ray in a thousand may straddle an edge.
    assert (close > 1 - 1e-6).sum() >= len(close) - 1
    is_met = first.distance[0] < INFINITE
    assert ((first.normal[0] * directions).sum(-1)[is_met] < 1e-9).all()
    torch.testing.assert_close(
        first.normal[0][is_met].norm(dim=-1), torch.ones(int(is_met.sum()), dtype=torch.float64)
    )


def test_the_nearest_of_all_surfaces_is_met() -> None:
    """All solids and walls together give the nearest of what each gives alone."""
    scene = made_scene(3, room_share=1.0)
    everywhere = torch.randn(600, 3, generator=torch.Generator().manual_seed(0))
    directions = F.normalize(everywhere.double(), dim=-1)
    together = cast(scene, (0.0, 0.0, 0.0), directions)
    fields = ("kind", "outline", "centre", "size", "swing", "yaw", "reach", "period", "phase")
    alone = []
    for solid in range(scene.num_solids):
        one = SolidScene(
            **{
                **vars(scene),
                **{name: getattr(scene, name)[solid : solid + 1] for name in fields},
                "shadow": scene.shadow[solid : solid + 1],
            }
        )
        alone.append(cast(one, (0.0, 0.0, 0.0), directions).distance[0])
    nearest = torch.stack(alone).amin(0)
    torch.testing.assert_close(together.distance[0], nearest, atol=1e-12, rtol=0)
    assert together.surface[0].unique().numel() > 15


def test_a_known_scene_has_known_depths() -> None:
    """A ball of radius 1 at 4, a box behind it, the front wall at 8, the floor 1.5 below."""
    box = Solid("box", (0.0, -2.0, 6.0), (0.5, 0.5, 0.5), RED)
    scene = scene_of(standing(ball((0.0, 0.0, 4.0))), standing(box))
    rays = towards((0, 0, 1), (0, -2.0, 5.5), (3.0, 0, 8.0), (0, 1.5, 2.0), (5.0, 0, 0), (0, 0, -9))
    hits = cast(scene, (0.0, 0.0, 0.0), rays)
    expected = [3.0, math.hypot(2, 5.5), math.hypot(3, 8), 2.5, 5.0, 4.0]
    assert hits.distance[0].tolist() == pytest.approx(expected, abs=1e-6)
    # Surfaces: the ball, the box, then left, right, ceiling, floor, back and front wall.
    assert hits.surface[0].tolist() == [0, 1, 7, 5, 3, 6]
    assert hits.place[0][0].tolist() == pytest.approx([0, 0, -1])
    assert hits.place[0][1].tolist() == pytest.approx([0, 0, -0.5], abs=1e-6)
    assert hits.place[0][3].tolist() == pytest.approx([0, 1.5, 2.0])
    normals = [[0, 0, -1], [0, 0, -1], [0, 0, -1], [0, -1, 0], [-1, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(hits.normal[0], torch.tensor(normals).double())


def test_the_sky_is_infinitely_far_and_its_place_is_a_direction() -> None:
    scene = scene_of(standing(ball((0.0, 0.0, 4.0))), extents=OUTDOORS)
    rays = towards((0, -1, 1), (1, -0.01, 0), (0, 1, 1))
    hits = cast(scene, (0.0, 0.0, 0.0), rays)
    assert hits.distance[0].tolist() == pytest.approx([INFINITE, INFINITE, 1.5 * math.sqrt(2)])
    assert hits.surface[0].tolist() == [scene.sky_id, scene.sky_id, scene.num_solids + 3]
    torch.testing.assert_close(hits.place[0][:2], rays[:2])


@pytest.mark.parametrize("extents", [ROOM, OUTDOORS])
@pytest.mark.parametrize("kind", [*FULL_KINDS, "card"])
def test_rays_along_the_axes_give_numbers(kind: SolidKind, extents: tuple[float, ...]) -> None:
    """Zeros in directions divide nothing: rays parallel to walls, faces, cards and cones."""
    solid = Solid(kind, (0.0, 0.0, 3.0), (0.5, 0.5, 0.0 if kind == "card" else 0.5), RED)
    scene = scene_of(standing(solid), extents=extents)
    axes = torch.cat((torch.eye(3), -torch.eye(3)))
    diagonals = F.normalize(torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 1], [0, -1, 1]]), dim=-1)
    # Origins on faces' and cards' own planes too.
    for origin in ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.5, 2.0), (-2.0, 0.0, 3.0)):
        hits = cast_rays(
            scene,
            torch.zeros(1),
            torch.tensor([origin]),
            torch.cat((axes, diagonals))[None],
        )
        assert not hits.distance.isnan().any()
        assert (hits.distance > 0).all()
        assert hits.place.isfinite().all()
        assert hits.normal.isfinite().all()


def test_a_camera_sees_no_solid_behind_it() -> None:
    things = [standing(Solid(kind, (0.0, 0.0, -3.0), (0.5, 0.5, 0.5), RED)) for kind in FULL_KINDS]
    card = standing(Solid("card", (0.0, 0.0, -3.0), (0.5, 0.5, 0.0), RED))
    scene = scene_of(*things, card)
    assert (cast(scene, (0.0, 0.0, 0.0), random_directions(200, 0)).surface >= 4).all()


def test_a_cone_is_wide_below_and_its_ends_are_closed() -> None:
    """Radius 1 at its foot, 0.5 at its top, 2 high: one of its ends is met from above or below."""
    cone = standing(Solid("cone", (0.0, 0.0, 5.0), (1.0, 1.0, 0.5), RED))
    scene = scene_of(cone, extents=EMPTY)
    ahead = towards((0, 0, 1))
    for height, radius in ((0.99, 0.9975), (0.0, 0.75), (-0.99, 0.5025)):
        met = cast(scene, (0.0, height, 0.0), ahead).distance.item()
        assert met == pytest.approx(5 - radius, abs=1e-6)
    down, up = towards((0, 1, 0)), towards((0, -1, 0))
    for x, y, way, end in (
        (0.45, -4.0, down, 3.0),  # within the upper end
        (0.95, 4.0, up, 3.0),  # within the lower one
        (1.05, 4.0, up, INFINITE),
        (0.75, -4.0, down, 4.0),  # beside the upper end: the side, at half its height
    ):
        assert cast(scene, (x, y, 5.0), way).distance.item() == pytest.approx(end, abs=1e-6)
    hits = cast(scene, (0.45, -4.0, 5.0), down)
    assert hits.normal[0, 0].tolist() == pytest.approx([0, -1, 0])


@pytest.mark.parametrize(
    ("outline", "inside", "outside"),
    [
        ("box", [(0.0, 0.0), (0.95, 0.95), (-0.95, 0.95)], [(1.05, 0.0), (0.0, -1.05)]),
        ("ball", [(0.0, 0.0), (0.9, 0.0)], [(0.8, 0.8), (0.0, 0.97)]),
        ("ring", [(0.7, 0.0), (0.0, -0.7)], [(0.0, 0.0), (0.3, 0.2), (0.8, 0.8)]),
        ("cross", [(0.0, 0.9), (-0.9, 0.0)], [(0.5, 0.5), (-0.5, 0.5)]),
        # A triangle that stands on its base: v falls downwards.
        ("cone", [(0.0, 0.0), (0.6, 0.7)], [(0.6, -0.5), (0.0, 0.8)]),
    ],
)
def test_a_card_is_cut_out_along_its_outline(
    outline: str, inside: list[tuple[float, float]], outside: list[tuple[float, float]]
) -> None:
    """Size 2 by 1: half of it to each side."""
    card = Solid("card", (0.0, 0.0, 3.0), (2.0, 1.0, 0.0), RED, outline)
    scene = scene_of(standing(card), extents=EMPTY)
    for places, is_card in ((inside, True), (outside, False)):
        rays = towards(*((2 * u, v, 3.0) for u, v in places))
        assert (cast(scene, (0.0, 0.0, 0.0), rays).distance[0] < INFINITE).tolist() == [
            is_card
        ] * len(places)


def test_both_faces_of_a_card_look_at_the_camera() -> None:
    card = Solid("card", (0.0, 0.0, 3.0), (1.0, 1.0, 0.0), RED)
    scene = scene_of(standing(card))
    for origin, way in (((0.0, 0.0, 0.0), (0.1, 0, 1)), ((0.0, 0.0, 6.0), (0.1, 0, -1))):
        hits = cast(scene, origin, towards(way))
        assert hits.surface.item() == 0
        assert hits.normal[0, 0].tolist() == [0, 0, -way[2]]


def test_yaw_turns_the_front_of_a_thing_to_the_left() -> None:
    """By a quarter turn, +Z points to +X: a nose at -Z points to -X."""
    nose = Solid("box", (0.0, 0.0, -1.0), (0.1, 0.1, 0.3), RED)
    scene = scene_of(standing(nose, yaw=math.pi / 2), extents=EMPTY)
    hits = cast(scene, (-5.0, 0.0, 0.0), towards((1, 0, 0)))
    assert hits.distance.item() == pytest.approx(5 - 1.3, abs=1e-6)
    # In its own axes the place is the box's front.
    assert hits.place[0, 0].tolist() == pytest.approx([0, 0, -0.3], abs=1e-6)
    assert hits.normal[0, 0].tolist() == pytest.approx([-1, 0, 0], abs=1e-6)


def test_a_moving_solid_is_met_where_its_motion_has_taken_it() -> None:
    """A quarter of a period takes it `swing` far."""
    motion = Motion((0.0, 0.0, 2.0), 20.0, 0.0)
    scene = scene_of(standing(ball((0.0, 0.0, 5.0)), motion=motion))
    directions = towards((0, 0, 1))
    found = [
        cast(scene, (0.0, 0.0, 0.0), directions, moment).distance.item()
        for moment in (0, 5, 10, 15)
    ]
    assert found == pytest.approx([4.0, 6.0, 4.0, 2.0], abs=1e-5)


def test_frames_have_their_own_cameras_and_moments() -> None:
    scene = made_scene(5, min_moving=2)
    rays = random_directions(60, 3).float()[None].repeat(3, 1, 1)
    origins = torch.tensor([[0.0, 0, 0], [0.4, -0.1, 0.2], [-0.3, 0.2, 0.5]])
    moments = torch.tensor([0.0, 4.0, 7.0])
    together = cast_rays(scene, moments, origins, rays)
    for frame in range(3):
        alone = cast_rays(scene, moments[frame, None], origins[frame, None], rays[frame, None])
        torch.testing.assert_close(together.distance[frame], alone.distance[0])
        assert (together.surface[frame] == alone.surface[0]).float().mean() > 0.99


def test_float32_is_as_exact_as_a_thousandth_of_the_distance() -> None:
    scene, directions = made_scene(8), random_directions(2000, 4)
    exact = cast(scene, (0.1, 0.0, 0.0), directions)
    single = cast_rays(
        scene, torch.zeros(1), torch.tensor([[0.1, 0.0, 0.0]]), directions.float()[None]
    )
    is_same = exact.surface == single.surface
    assert is_same.float().mean() > 0.998
    is_same &= exact.distance < 50
    ratio = (single.distance.double() / exact.distance)[is_same]
    assert (ratio - 1).abs().max() < 1e-3


def test_turns_and_unit_vectors() -> None:
    x, z = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 0, 1])
    angle = torch.tensor(math.radians(30))
    turned = turn_about_vertical(z, angle.cos(), angle.sin())
    assert turned.tolist() == pytest.approx([0.5, 0, math.sqrt(0.75)])
    assert turn_about_vertical(x, angle.cos(), angle.sin()).tolist() == pytest.approx(
        [math.sqrt(0.75), 0, -0.5]
    )
    vectors = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(unit(vectors), F.normalize(vectors, dim=-1))
    assert unit(torch.zeros(3)).tolist() == [0, 0, 0]
