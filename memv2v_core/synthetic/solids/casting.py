"""Where rays meet a scene of solids: exact distance, surface and place on it.

Rays come as (F, N): N rays in each of F frames, all rays of a frame from one centre. Candidates are
found for all rays and solids by one matrix product; only pairs whose bounding balls are met are
intersected.

F frames, N rays a frame, P solids, M pairs of a ray and a solid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..outlines import shape_distance
from .scene import NUM_WALLS, OUTLINES, SOLID_KINDS, SolidScene

# Surfaces nearer than this belong to the camera's own place.
NEAREST = 1e-3
FAR = float("inf")


@dataclass(frozen=True, eq=False)
class Hits:
    """What every ray meets first.

    distance: (F, N) along the unit ray, infinite for the sky. surface: (F, N), its number in the
    scene. place: (F, N, 3), in the solid's own axes from its centre, or in the world for walls;
    a direction for the sky. normal: (F, N, 3) in the world.
    """

    distance: torch.Tensor
    surface: torch.Tensor
    place: torch.Tensor
    normal: torch.Tensor


def cast_rays(
    scene: SolidScene, moments: torch.Tensor, origins: torch.Tensor, directions: torch.Tensor
) -> Hits:
    """The first surface on every ray.

    moments: (F,), the frame that the scene is in. origins: (F, 3). directions: (F, N, 3), unit.
    """
    # Step 1: the walls behind everything. Step 2: solids before them.
    distance, surface = _walls(scene, origins, directions)
    offsets = scene.centres(moments) - origins[:, None]  # (F, P, 3)
    _solids(scene, offsets, directions, distance, surface)
    return _described(scene, offsets, origins, directions, distance, surface)


def _walls(
    scene: SolidScene, origins: torch.Tensor, directions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance and surface (F, N) of the room around; the sky where there is none."""
    low, high = scene.walls[0::2], scene.walls[1::2]
    # Along each axis a ray can only meet the wall that it flies towards.
    ahead = torch.where(directions > 0, high, low) - origins[:, None]
    along = torch.where(directions != 0, ahead / directions, FAR)
    distance, axis = along.min(-1)
    side = (directions.gather(-1, axis[..., None])[..., 0] > 0).long()
    surface = scene.num_solids + 2 * axis + side
    return distance, torch.where(distance < FAR, surface, scene.sky_id)


def _solids(
    scene: SolidScene,
    offsets: torch.Tensor,
    directions: torch.Tensor,
    distance: torch.Tensor,
    surface: torch.Tensor,
) -> None:
    """Put solids that are nearer than `distance` into `distance` and `surface`."""
    along = directions @ offsets.mT  # (F, N, P)
    # The squared distance of each ray's line from each centre is |offset|^2 - along^2.
    least = offsets.square().sum(-1) - scene.reach.square()  # (F, P)
    is_near = (along.square() > least[:, None]) & (along > -scene.reach)
    flat_distance, flat_surface = distance.view(-1), surface.view(-1)
    found: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    first = 0
    for intersect, count in zip(_INTERSECTIONS, _counts(scene), strict=True):
        frame, ray, solid = is_near[:, :, first : first + count].nonzero(as_tuple=True)  # (M,)
        solid += first
        first += count
        ray += frame * directions.shape[1]
        met = intersect(scene, solid, *_local(scene, offsets, directions, ray, solid))
        found.append((ray, solid, met))
    ray, solid, met = (torch.cat(parts) for parts in zip(*found, strict=True))
    flat_distance.scatter_reduce_(0, ray, met, "amin")
    is_first = (met == flat_distance[ray]) & (met < FAR)
    flat_surface[ray[is_first]] = solid[is_first]


def _counts(scene: SolidScene) -> list[int]:
    """How many solids of each kind there are."""
    return torch.bincount(scene.kind, minlength=len(SOLID_KINDS)).tolist()


def _local(
    scene: SolidScene,
    offsets: torch.Tensor,
    directions: torch.Tensor,
    ray: torch.Tensor,
    solid: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and directions (M, 3) in the axes of each pair's solid.

    offsets: (F, P, 3), from the cameras to the solids' centres. ray: (M,), its number among all
    rays of all frames.
    """
    cos, sin = scene.yaw.cos(), -scene.yaw.sin()
    origins = turn_about_vertical(-offsets, cos, sin).flatten(0, 1)
    frame = ray.div(directions.shape[1], rounding_mode="floor")
    turned = turn_about_vertical(
        directions.flatten(0, 1).index_select(0, ray), cos[solid], sin[solid]
    )
    return origins.index_select(0, frame * scene.num_solids + solid), turned


def chosen_first(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (F, M) of what a mask (F, N) holds in each frame, and which of them it holds.

    M is the largest number in a frame; frames with fewer are filled up with other places.
    """
    count = int(mask.sum(1).max())
    places = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    return places, mask.gather(1, places)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (..., 3) of length 1."""
    # Faster than torch's norm over so short an axis.
    x, y, z = vectors.unbind(-1)
    return vectors * (x * x + y * y + z * z).clamp(min=1e-30).rsqrt().unsqueeze(-1)


def turn_about_vertical(
    vectors: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Vectors (..., 3) turned by angles (...) about the vertical axis, +Z towards +X."""
    x, y, z = vectors.unbind(-1)
    return torch.stack((cos * x + sin * z, y, cos * z - sin * x), dim=-1)


def _ellipsoid(
    scene: SolidScene, solid: torch.Tensor, origin: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    # In units of its half extents it is a ball of radius 1.
    origin, direction = origin / scene.size[solid], direction / scene.size[solid]
    return _nearest_root(
        direction.square().sum(-1),
        (origin * direction).sum(-1),
        origin.square().sum(-1) - 1,
    )


def _box(
    scene: SolidScene, solid: torch.Tensor, origin: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    size = scene.size[solid]
    inverse = 1 / torch.where(direction == 0, 1e-12, direction)
    first, second = (-size - origin) * inverse, (size - origin) * inverse
    near, far = torch.minimum(first, second).amax(-1), torch.maximum(first, second).amin(-1)
    return torch.where((near <= far) & (near > NEAREST), near, FAR)


def _cone(
    scene: SolidScene, solid: torch.Tensor, origin: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    """A cone without its tip, upright, and its two ends."""
    lower, half, upper = scene.size[solid].unbind(-1)
    # The radius at height y (down is positive) is middle + slope * y.
    middle, slope = (lower + upper) / 2, (lower - upper) / (2 * half)
    y, dy = origin[:, 1], direction[:, 1]
    radius, change = middle + slope * y, slope * dy

    def is_side(met: torch.Tensor) -> torch.Tensor:
        return ((y + met * dy).abs() <= half) & (radius + met * change >= 0)

    x, dx, z, dz = origin[:, 0], direction[:, 0], origin[:, 2], direction[:, 2]
    side = _nearest_root(
        dx.square() + dz.square() - change.square(),
        x * dx + z * dz - radius * change,
        x.square() + z.square() - radius.square(),
        is_side,
    )
    # The end that the ray flies towards.
    end = -torch.sign(dy) * half
    met = (end - y) / torch.where(dy == 0, 1e-12, dy)
    at = origin + met[:, None] * direction
    is_inside = at[:, 0].square() + at[:, 2].square() <= (middle + slope * end).square()
    cap = torch.where(is_inside & (met > NEAREST) & (dy != 0), met, FAR)
    return torch.minimum(side, cap)


def _card(
    scene: SolidScene, solid: torch.Tensor, origin: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    """A flat picture that is cut out along its outline."""
    dz = direction[:, 2]
    met = -origin[:, 2] / torch.where(dz == 0, 1e-12, dz)
    at = origin + met[:, None] * direction
    u, v = (at[:, :2] / scene.size[solid, :2]).unbind(-1)
    is_inside = torch.zeros_like(u, dtype=torch.bool)
    outline = scene.outline[solid]
    for number, name in enumerate(OUTLINES):
        inside = (u.abs() < 1) & (v.abs() < 1)
        # A rectangle fills its whole size.
        if name != "box":
            inside &= shape_distance(name, u, v) < 0
        is_inside |= inside & (outline == number)
    return torch.where(is_inside & (met > NEAREST), met, FAR)


_INTERSECTIONS = (_ellipsoid, _box, _cone, _card)


def _nearest_root(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    is_allowed: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """The nearest allowed root of a t^2 + 2 b t + c = 0 before the camera, (M,); else infinite."""
    inside = b.square() - a * c
    root = inside.clamp(min=0).sqrt()
    a = torch.where(a.abs() < 1e-12, 1e-12, a)
    nearest = torch.full_like(b, FAR)
    for met in ((-b - root) / a, (-b + root) / a):
        is_met = (inside >= 0) & (met > NEAREST)
        if is_allowed is not None:
            is_met &= is_allowed(met)
        nearest = torch.where(is_met, torch.minimum(nearest, met), nearest)
    return nearest


def _described(
    scene: SolidScene,
    offsets: torch.Tensor,
    origins: torch.Tensor,
    directions: torch.Tensor,
    distance: torch.Tensor,
    surface: torch.Tensor,
) -> Hits:
    """Places and normals of the surfaces that were met."""
    # Step 1: walls, whose places and normals are the world's.
    is_sky = surface == scene.sky_id
    reach = torch.where(is_sky, 0.0, distance)
    place = origins[:, None] + reach[..., None] * directions
    place = torch.where(is_sky[..., None], directions, place)
    wall = (surface - scene.num_solids).clamp(0, NUM_WALLS - 1)
    normal = F.one_hot(wall // 2, 3) * (1 - 2 * (wall % 2))[..., None]
    normal = normal.to(place)
    # Step 2: solids, in their own axes and back.
    ray = (surface.flatten() < scene.num_solids).nonzero().flatten()
    solid = surface.flatten()[ray]
    local_origin, local_direction = _local(scene, offsets, directions, ray, solid)
    at = local_origin + distance.flatten()[ray][:, None] * local_direction
    outward = _normals(scene, solid, at, local_direction)
    place.flatten(0, 1)[ray] = at
    normal.flatten(0, 1)[ray] = turn_about_vertical(
        outward, scene.yaw.cos()[solid], scene.yaw.sin()[solid]
    )
    return Hits(distance, surface, place, normal)


def _normals(
    scene: SolidScene, solid: torch.Tensor, at: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    """Unit normals (M, 3) in the solids' axes, towards the camera."""
    size, kind = scene.size[solid], scene.kind[solid]
    x, y, z = at.unbind(-1)
    # Ellipsoid: the gradient of its equation.
    normal = unit(at / size.clamp(min=1e-6).square())
    # Box: the axis along which the place lies farthest out.
    axis = (at / size.clamp(min=1e-6)).abs().argmax(-1)
    box = F.one_hot(axis, 3) * torch.sign(at)
    normal = torch.where((kind == 1)[:, None], box, normal)
    # Cone: its side, or an end where the height is reached.
    lower, half, upper = size.unbind(-1)
    slope = (lower - upper) / (2 * half.clamp(min=1e-6))
    radius = torch.hypot(x, z).clamp(min=1e-6)
    side = unit(torch.stack((x / radius, -slope, z / radius), dim=-1))
    is_end = y.abs() >= half * (1 - 1e-4)
    end = torch.stack((torch.zeros_like(y), torch.sign(y), torch.zeros_like(y)), dim=-1)
    normal = torch.where((kind == 2)[:, None], torch.where(is_end[:, None], end, side), normal)
    # Card: whichever face looks at the camera.
    card = torch.zeros_like(at)
    card[:, 2] = -torch.sign(direction[:, 2])
    return torch.where((kind == 3)[:, None], card, normal)
