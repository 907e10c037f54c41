"""Videos of a scene of solids along a camera path, with the exact surface behind every pixel.

Every pixel has one ray through its middle. Where neighbours show different surfaces a pixel gets
four more rays, so that edges are smooth.

F frames, H rows, W columns.
"""

from dataclasses import dataclass

import torch

from ...cameras.projection import pixel_centres
from ...cameras.trajectory import CameraTrajectory
from ..panoramas import FilmedView
from .casting import Hits, cast_rays, chosen_first, unit
from .scene import SolidScene
from .shading import shade

# Where the rays of a pixel on an edge go, in pixels from its middle: a square turned by a quarter
# of a right angle catches flat and steep edges alike.
EDGE_OFFSETS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


@dataclass(frozen=True, eq=False)
class FilmedSolids(FilmedView):
    """A video (F, 3, H, W) in [0, 1], its path, and what its pixels show.

    hits: of the ray through each pixel's middle; N counts H x W row by row.
    moments: (F,), the frame that the scene is in.
    """

    hits: Hits
    moments: torch.Tensor

    @property
    def depth(self) -> torch.Tensor:
        """Distance (F, H, W) from the camera's centre, infinite for the sky."""
        return self.hits.distance.unflatten(1, self.frames.shape[-2:])

    @property
    def surface(self) -> torch.Tensor:
        """The number (F, H, W) of the surface that each pixel shows."""
        return self.hits.surface.unflatten(1, self.frames.shape[-2:])


def film_solids(
    scene: SolidScene,
    path: CameraTrajectory,
    height: int,
    width: int,
    moments: torch.Tensor | None = None,
    has_smooth_edges: bool = True,
) -> FilmedSolids:
    """The video of a scene along a path.

    moments: (F,), the frame that the scene is in; None counts from 0, as the source plays.
    """
    if moments is None:
        moments = torch.arange(path.num_frames)
    moments = moments.to(scene.centre)
    c2w = path.c2w.to(scene.centre.device)
    lenses = path.intrinsics.to(scene.centre.device)
    origins = c2w[:, :3, 3].to(scene.centre)
    rays = _rays(c2w, lenses, height, width).to(scene.centre)
    pixel_rad = 1 / (width * float(lenses[0, 0, 0]))
    # Step 1: one ray a pixel.
    hits = cast_rays(scene, moments, origins, rays)
    colour = shade(scene, moments, rays, hits, pixel_rad)  # (F, H W, 3)
    # Step 2: more rays where surfaces meet.
    if has_smooth_edges:
        chosen, is_edge = chosen_first(_edges(hits.surface, height, width))
        moved = _around(c2w, lenses, rays, chosen, (height, width))  # (F, 4 M, 3)
        met = cast_rays(scene, moments, origins, moved)
        seen = shade(scene, moments, moved, met, pixel_rad)
        between = seen.unflatten(1, (len(EDGE_OFFSETS), -1)).mean(1)
        frame, place = is_edge.nonzero(as_tuple=True)
        colour[frame, chosen[frame, place]] = between[frame, place]
    frames = colour.unflatten(1, (height, width)).movedim(-1, 1)
    return FilmedSolids(frames.contiguous(), path, hits, moments)


def _rays(c2w: torch.Tensor, lenses: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Unit directions (F, H W, 3) in the world through all pixel centres."""
    to_world = c2w[:, :3, :3] @ torch.linalg.inv(lenses)
    return unit(pixel_centres(height, width).to(c2w).flatten(0, 1) @ to_world.mT)


def _edges(surface: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Pixels (F, H W) beside another surface."""
    image = surface.unflatten(1, (height, width))
    is_edge = torch.zeros_like(image, dtype=torch.bool)
    across, down = image[:, :, 1:] != image[:, :, :-1], image[:, 1:] != image[:, :-1]
    is_edge[:, :, 1:] |= across
    is_edge[:, :, :-1] |= across
    is_edge[:, 1:] |= down
    is_edge[:, :-1] |= down
    return is_edge.flatten(1)


def _around(
    c2w: torch.Tensor,
    lenses: torch.Tensor,
    rays: torch.Tensor,
    chosen: torch.Tensor,
    size: tuple[int, int],
) -> torch.Tensor:
    """Four unit rays around each of the chosen pixels (F, M): (F, 4 M, 3), one offset after
    another.
    """
    own = rays.gather(1, chosen[..., None].expand(-1, -1, 3))
    # On the plane one pose unit ahead, pixels are evenly apart.
    own = own / (own @ c2w[:, :3, 2, None].to(own))
    to_world = c2w[:, :3, :3] @ torch.linalg.inv(lenses)
    right, down = to_world[:, None, :, 0] / size[1], to_world[:, None, :, 1] / size[0]
    moved = [own + (x * right + y * down).to(own) for x, y in EDGE_OFFSETS]
    return unit(torch.cat(moved, dim=1))
