"""Scenes with depth for users who try camera paths that move.

Training never draws them.

F frames, P solids.
"""

from collections.abc import Callable

import torch

from ..cameras.trajectory import CameraTrajectory
from .solids.casting import turn_about_vertical
from .solids.filming import film_solids
from .solids.scene import FLOOR, SOLID_KINDS, SolidScene

# A camera may go so far from the origin, in pose units: just before the nearest things, which
# stand at 2.2. A camera must keep this much from surfaces.
FARTHEST, CLEARANCE = 2.0, 0.1
# Casting rays takes memory for every pixel times every solid.
_PIXELS_AT_ONCE = 300_000


def film_demo_solids(
    scene: SolidScene,
    path: CameraTrajectory,
    size: int,
    after_each: Callable[[int], None] = lambda _count: None,
) -> torch.Tensor:
    """The video (F, 3, H, W) in [0, 1] along a path, things where its moments put them.

    after_each: called with a number of frames when they are rendered.

    Raises: ValueError naming the first frame whose camera has no free place.
    """
    require_free(scene, path)
    count = max(1, _PIXELS_AT_ONCE // size**2)
    moments, pieces = path.moments(), []
    for start in range(0, path.num_frames, count):
        frames = tuple(range(start, min(start + count, path.num_frames)))
        part = film_solids(scene, path.frames(frames), size, size, moments[list(frames)])
        pieces.append(part.frames)
        after_each(len(frames))
    return torch.cat(pieces)


def require_free(scene: SolidScene, path: CameraTrajectory) -> None:
    """Raise ValueError when a camera is too far away, outside of the room, or inside of a thing."""
    centres = path.c2w[:, :3, 3].to(scene.centre)
    remedy = "lower the amplitude, or choose another scene"
    away = centres.norm(dim=1)
    if away.max() > FARTHEST:
        raise ValueError(
            f"camera got {float(away.max()):.3g} pose units away from the source's first camera "
            f"at frame {int(away.argmax()) + 1}, wanted at most {FARTHEST:g}, as things stand "
            f"there; {remedy}"
        )
    low, high = scene.walls[0::2], scene.walls[1::2]
    is_out = (centres - low < CLEARANCE) | (high - centres < CLEARANCE)  # (F, 3)
    if is_out.any():
        frame, axis = is_out.nonzero()[0].tolist()
        is_below = axis == FLOOR // 2 and bool(centres[frame, axis] > 0)
        place = "under the floor" if is_below else "outside of the room"
        raise ValueError(
            f"camera got a place {place} at frame {frame + 1}, wanted at least {CLEARANCE:g} pose "
            f"units from floor, ceiling and walls; {remedy}"
        )
    covered = _covered(scene, centres, path.moments())
    if covered.any():
        raise ValueError(
            f"camera got a place inside of a thing at frame {int(covered.nonzero()[0]) + 1}, "
            f"wanted at least {CLEARANCE:g} pose units from things; {remedy}"
        )


def _covered(scene: SolidScene, centres: torch.Tensor, moments: torch.Tensor) -> torch.Tensor:
    """Frames (F,) whose camera is inside of a solid, or nearly so."""
    offsets = centres[:, None] - scene.centres(moments)  # (F, P, 3)
    x, y, z = turn_about_vertical(offsets, scene.yaw.cos(), -scene.yaw.sin()).unbind(-1)
    size = scene.size + CLEARANCE
    # A cone's radius goes from the first size at its foot to the third at its top; down is +Y.
    lower, half, upper = scene.size.unbind(-1)
    radius = CLEARANCE + (lower + upper) / 2 + (lower - upper) / 2 * (y / half).clamp(-1, 1)
    in_box = (x.abs() < size[:, 0]) & (y.abs() < size[:, 1]) & (z.abs() < size[:, 2])
    inside = {
        "ellipsoid": (x / size[:, 0]) ** 2 + (y / size[:, 1]) ** 2 + (z / size[:, 2]) ** 2 < 1,
        "box": in_box,
        "cone": (x.square() + z.square() < radius.square()) & (y.abs() < size[:, 1]),
        "card": in_box,
    }
    chosen = torch.stack([inside[kind] for kind in SOLID_KINDS])  # (kinds, F, P)
    idx = scene.kind.expand(1, len(centres), -1)
    return chosen.gather(0, idx)[0].any(1)
