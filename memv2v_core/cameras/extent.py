"""How far a camera path goes, in the few numbers that a person would name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .trajectory import CameraTrajectory

# Paths differ by less where they were estimated or rounded; nobody sees it. In pose units.
_NEGLIGIBLE = 0.01
# What is said of each axis: how far it goes, and how far the training went.
_TURNS = tuple(
    f"{{far:.0f}} degrees {way} (trained: {{most:.0f}})"
    for way in ("left or right", "up or down", "about its view")
)
_MOVES = tuple(
    f"{{far:.3g}} pose units {way} (trained: {{most:.3g}})"
    for way in ("left or right", "up or down", "forward or back")
)


@dataclass(frozen=True)
class Extent:
    """The farthest point of a path from its first camera, on each axis by itself.

    pan_deg: to the right. tilt_deg: upwards. roll_deg: the camera's top to the right.
    right, up, forward: pose units. zoom: focal length at the end divided by that at the start.
    turns_back: whether the path ends where it began.
    """

    pan_deg: float
    tilt_deg: float
    roll_deg: float
    right: float
    up: float
    forward: float
    zoom: float
    turns_back: bool


@dataclass(frozen=True)
class Reach:
    """How far the camera paths of a model's training go from the source's first camera.

    sideways, vertical, forward: to the left or right, up or down, forward or back, each by itself
    and in pose units; 0 where no camera moved.
    pan_deg, tilt_deg, roll_deg: to either side; None where nobody has recorded it.
    """

    sideways: float
    vertical: float
    forward: float
    pan_deg: float | None = None
    tilt_deg: float | None = None
    roll_deg: float | None = None

    def remark(self, path: CameraTrajectory, source_path: CameraTrajectory) -> str:
        """Where `path` goes farther than the training, in words; "" where it does not."""
        relative = path.relative_to(source_path).c2w
        trained = (self.sideways, self.vertical, self.forward)
        if not any(trained):
            far = float(relative[:, :3, 3].norm(dim=1).max())
            if far > _NEGLIGIBLE:
                return (
                    f"the target camera moves {far:.3g} pose units, but the model was trained on "
                    "cameras that only turn; use pan, tilt, roll or sweep, or load a model for "
                    "cameras that move, such as novel_view_depth"
                )
        axes = _axes(relative).abs().amax(dim=0).tolist()
        turned = _beyond(_TURNS, axes[:3], (self.pan_deg, self.tilt_deg, self.roll_deg), 1.0)
        moved = _beyond(_MOVES, axes[3:], trained, _NEGLIGIBLE)
        ways = [
            f"{verb} {' and '.join(found)}"
            for verb, found in (("moves", moved), ("turns", turned))
            if found
        ]
        if not ways:
            return ""
        return (
            f"the target camera {' and '.join(ways)}, farther than the model was trained for; "
            "expect a worse picture, or shorten the path"
        )


def extent_of(path: CameraTrajectory) -> Extent:
    """The extent of a path."""
    axes = _axes(path.relative_to(path).c2w)  # (F, 6)
    farthest = axes.abs().argmax(dim=0)
    pan, tilt, roll, right, up, forward = axes.gather(0, farthest[None])[0].tolist()
    # Back means close to the start, measured by the path's own size.
    size = axes.abs().amax(dim=0).clamp(min=1e-9)
    turns_back = bool((axes[-1].abs() <= 0.05 * size).all())
    focal = path.intrinsics[:, 0, 0]
    zoom = float(focal[-1] / focal[0])
    return Extent(pan, tilt, roll, right, up, forward, zoom, turns_back)


def _beyond(
    texts: Sequence[str], far: Sequence[float], trained: Sequence[float | None], slack: float
) -> list[str]:
    """The texts of the axes on which a path goes farther than the training and `slack`."""
    pairs = zip(texts, far, trained, strict=True)
    return [
        text.format(far=length, most=most)
        for text, length, most in pairs
        if most is not None and length > most + slack
    ]


def _axes(relative: torch.Tensor) -> torch.Tensor:
    """Degrees of pan, tilt and roll, and moves to the right, up and forward: (F, 6).

    relative: camera-to-world poses (F, 4, 4) in the space of the camera that they are told from.
    """
    ahead, side = relative[:, :3, 2], relative[:, :3, 0]  # (F, 3)
    turns = torch.stack(
        (
            without_jumps(torch.atan2(ahead[:, 0], ahead[:, 2]), 2 * math.pi),
            torch.atan2(-ahead[:, 1], ahead[:, [0, 2]].norm(dim=1)),
            torch.atan2(side[:, 1], side[:, [0, 2]].norm(dim=1)),
        ),
        dim=1,
    )
    # Y points down; people count upwards.
    moves = relative[:, :3, 3] * torch.tensor([1.0, -1.0, 1.0], dtype=relative.dtype)
    return torch.cat((turns.rad2deg(), moves), dim=1)


def without_jumps(angles: torch.Tensor, turn: float) -> torch.Tensor:
    """Angles (..., N) that go on past a whole turn; the first ones stay.

    turn: the angle of a whole turn in the same unit.
    """
    jumps = -turn * torch.round(angles.diff(dim=-1) / turn)
    return torch.cat([angles[..., :1], angles[..., 1:] + jumps.cumsum(-1)], dim=-1)
