"""Clips of a world, before an edit and after it.

F frames, H rows, W columns. Lengths are in frame widths, x to the right, y down.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .edits import Edit
from .outlines import hat_distance, shape_distance
from .worlds import World, WorldObject

# Height of a frame, in heights of the canvas.
_FRAME_HEIGHT = 0.55


def render_world(
    world: World, frames: Sequence[int], size: int, edit: Edit | None = None
) -> torch.Tensor:
    """The video (F, 3, size, size) in 0..1 at these frames.

    Without an edit it is the source, with an edit its true result.
    """
    x, y = _places(size, world.canvas.device)
    video = _background(world, frames, x, y)
    # From back to front. Only the edited object is drawn with the edit.
    for i, item in enumerate(world.objects):
        video = _draw(
            video, item, frames, x, y, edit if edit is not None and edit.object_idx == i else None
        )
    return video.clamp_(0, 1)


def visible_part(world: World, frames: Sequence[int], size: int, object_idx: int) -> torch.Tensor:
    """Pixels (F, size, size) that show this object and no other object before it."""
    x, y = _places(size, world.canvas.device)
    shown = torch.zeros(len(frames), size, size, dtype=torch.bool, device=x.device)
    for i, item in enumerate(world.objects):
        inside = _outline(item, item.kind, frames, *_around(item, frames, x, y)) < 0
        # Later objects stand in front.
        shown = inside if i == object_idx else shown & ~inside
    return shown


def _places(size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    axis = (torch.arange(size, device=device) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return x, y


def _background(
    world: World, frames: Sequence[int], x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """The canvas behind the objects, (F, 3, H, W), at frame coordinates x, y (H, W)."""
    height, width = world.canvas.shape[1:]
    pan = torch.tensor([[world.pan_x(frame), world.pan_y(frame)] for frame in frames]).to(
        x
    )  # (F, 2)
    # Frame coordinates plus the pan, in the -1..1 of grid_sample over the canvas.
    grid = 2 * (torch.stack((x, y), dim=-1) - 0.5 + pan[:, None, None])
    grid = _FRAME_HEIGHT * grid * torch.tensor([height / width, 1.0]).to(grid)
    canvas = world.canvas.expand(len(frames), -1, -1, -1)
    # Reflected at the border: a wide pan finds more texture there.
    return F.grid_sample(canvas, grid, padding_mode="reflection", align_corners=False)


def _draw(
    video: torch.Tensor,
    item: WorldObject,
    frames: Sequence[int],
    x: torch.Tensor,
    y: torch.Tensor,
    edit: Edit | None,
) -> torch.Tensor:
    u, v = _around(item, frames, x, y)
    # The edge is about a pixel and a half wide.
    softness = 1.5 / (x.shape[-1] * item.radius)
    kind, colour = item.kind, item.colour
    if edit is not None and edit.kind == "reshape":
        kind, colour = edit.shape, edit.colour
    elif edit is not None and edit.kind == "recolour":
        colour = edit.colour
    # Light falls from the upper left.
    light = (0.88 - 0.14 * (u + v)).clamp_(0.6, 1.12)
    video = _paint(video, _outline(item, kind, frames, u, v), softness, colour, light)
    if edit is not None and edit.kind == "hat":
        video = _paint(video, hat_distance(edit.shape, u, v + 0.85), softness, edit.colour, light)
    return video


def _around(
    item: WorldObject, frames: Sequence[int], x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places relative to the object, upright, in radii."""
    centres = torch.tensor([item.centre(frame) for frame in frames]).to(x)
    return (x - centres[:, 0, None, None]) / item.radius, (
        y - centres[:, 1, None, None]
    ) / item.radius


def _outline(
    item: WorldObject, kind: str, frames: Sequence[int], u: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Distance to the outline of the object, turned as in these frames.

    kind: the shape; an edit may change it.
    """
    angle = torch.tensor([item.turn(frame) for frame in frames]).to(u)[:, None, None]
    cos, sin = angle.cos(), angle.sin()
    return shape_distance(kind, cos * u + sin * v, cos * v - sin * u)


def _paint(
    video: torch.Tensor,
    distance: torch.Tensor,
    softness: float,
    colour: tuple[float, float, float],
    light: torch.Tensor,
) -> torch.Tensor:
    """`video` (F, 3, H, W) with a shape of this outline (F, H, W) over it."""
    alpha = (0.5 - distance / softness).clamp_(0, 1).unsqueeze(1)  # (F, 1, H, W)
    return torch.lerp(
        video, torch.tensor(colour).to(light).view(3, 1, 1) * light.unsqueeze(1), alpha
    )
