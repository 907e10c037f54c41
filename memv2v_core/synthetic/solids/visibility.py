"""Exact correspondence between videos of one scene: which pixels show the same point.

A point belongs to its solid and moves with it. It is visible where a ray from the camera meets it
before anything else.

F frames, N points a frame.
"""

import torch
import torch.nn.functional as F

from ...cameras.projection import inside_image, project_points
from ...cameras.trajectory import CameraTrajectory
from .casting import cast_rays, chosen_first, turn_about_vertical, unit
from .filming import FilmedSolids
from .scene import NUM_WALLS, SOLID_KINDS, SolidScene

CARD = SOLID_KINDS.index("card")

# A ray may meet its point this much earlier, relative to the distance: rounding of float32.
ROUNDING = 2e-3
# The sky is so far away, in pose units, that moving the camera changes nothing.
SKY_DISTANCE = 1e6


def points_at(scene: SolidScene, video: FilmedSolids, moments: torch.Tensor) -> torch.Tensor:
    """Where the points that a video shows are at other moments (F,): (F, H W, 3) in the world."""
    hits, solid = video.hits, video.hits.surface.clamp(max=scene.num_solids - 1)
    centres = scene.centres(moments).gather(1, solid[..., None].expand(-1, -1, 3))
    yaw = scene.yaw[solid]
    on_solids = centres + turn_about_vertical(hits.place, yaw.cos(), yaw.sin())
    is_solid = (hits.surface < scene.num_solids)[..., None]
    points = torch.where(is_solid, on_solids, hits.place)
    is_sky = (hits.surface == scene.sky_id)[..., None]
    return torch.where(is_sky, hits.place * SKY_DISTANCE, points)


def visible_from(
    scene: SolidScene,
    video: FilmedSolids,
    camera: CameraTrajectory,
    moments: torch.Tensor,
    wanted: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where a camera sees the points of a video, frame f of one by frame f of the other.

    camera: F frames at `moments` (F,). wanted: (F, H W), points to ask for; the others count as
    not seen. None asks for all.

    Returns image coordinates (F, H W, 2), divided by image size, and whether the camera sees the
    point, (F, H W).
    """
    points = points_at(scene, video, moments)
    c2w, lenses = camera.c2w.to(points.device), camera.intrinsics.to(points.device)
    places, depth = project_points(points.double(), c2w, lenses)
    # Step 1: what lies outside the picture, or looks away, needs no ray.
    origins = c2w[:, :3, 3].to(points)
    way = points - origins[:, None]
    surface = video.hits.surface
    is_card = torch.cat((scene.kind, scene.kind.new_zeros(NUM_WALLS + 1)))[surface] == CARD
    is_facing = (video.hits.normal * way).sum(-1) < 0
    is_asked = inside_image(places, depth) & (is_facing | is_card | (surface == scene.sky_id))
    if wanted is not None:
        is_asked &= wanted
    # Step 2: rays to the others, as many a frame as the frame with most of them has.
    chosen, is_chosen = chosen_first(is_asked)
    way, surface = way.gather(1, chosen[..., None].expand(-1, -1, 3)), surface.gather(1, chosen)
    met = cast_rays(scene, moments, origins, unit(way))
    # The sky is seen where nothing is met, other points where nothing is met before them.
    is_open = torch.where(
        surface == scene.sky_id,
        met.surface == scene.sky_id,
        met.distance >= way.norm(dim=-1) * (1 - ROUNDING),
    )
    seen = torch.zeros_like(is_asked)
    return places, seen.scatter(1, chosen, is_open & is_chosen)


def ever_seen(scene: SolidScene, video: FilmedSolids, observers: FilmedSolids) -> torch.Tensor:
    """Pixels (F, 1, H, W) of a video whose point any frame of another video shows, at any time."""
    num_frames, _, height, width = video.frames.shape
    seen = torch.zeros_like(video.hits.surface, dtype=torch.bool)
    for frame, moment in enumerate(observers.moments):
        camera = observers.path.frames((frame,) * num_frames)
        # A point is asked for until a frame shows it.
        seen |= visible_from(scene, video, camera, moment.expand(num_frames), ~seen)[1]
    return seen.view(num_frames, 1, height, width)


def warp_by_depth(
    scene: SolidScene, picture: torch.Tensor, shown_by: FilmedSolids, into: FilmedSolids
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `into` would show of a video that was made along the path of `shown_by`.

    picture: (F, 3, H, W), a video along the path of `shown_by`, generated or true.

    Returns the warped video (F, 3, H, W), zero where unknown, and where it is known, (F, 1, H, W):
    where the other camera sees the point in the same frame, and the interpolation reads one
    surface alone.
    """
    num_frames, _, height, width = into.frames.shape
    places, is_seen = visible_from(scene, into, shown_by.path, shown_by.moments)
    grid = (2 * places - 1).view(num_frames, height, width, 2).to(picture)
    # Bilinear reading across an edge would mix two surfaces.
    is_known = is_seen.view(num_frames, height, width)
    is_known = is_known & _reads_one_surface(places, shown_by, into).view_as(is_known)
    warped = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    is_known = is_known[:, None].to(picture.device)
    return torch.where(is_known, warped, 0.0), is_known


def _reads_one_surface(
    places: torch.Tensor, shown_by: FilmedSolids, into: FilmedSolids
) -> torch.Tensor:
    """Whether the four pixels around each place (F, N, 2) all show the surface of `into` there."""
    height, width = shown_by.frames.shape[-2:]
    size = torch.tensor([width, height], device=places.device)
    corner = (places * size - 0.5).floor()
    is_whole = ((corner >= 0) & (corner + 1 < size)).all(-1)
    x, y = corner.long().unbind(-1)
    same = is_whole
    for across in (0, 1):
        for down in (0, 1):
            idx = (y + down).clamp(0, height - 1) * width + (x + across).clamp(0, width - 1)
            same = same & (shown_by.hits.surface.gather(1, idx) == into.hits.surface)
    return same
