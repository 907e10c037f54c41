"""How far a camera path goes, in the few numbers that a person would name."""

import math
from dataclasses import dataclass

import torch

from .trajectory import CameraTrajectory

# Paths differ by less where they were estimated or rounded; nobody sees it. In pose units.
_NEGLIGIBLE = 0.01


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
    """

    sideways: float
    vertical: float
    forward: float

    def remark(self, path: CameraTrajectory, source_path: CameraTrajectory) -> str:
        """Where `path` goes farther than the training, in words; "" where it does not."""
        moves = path.relative_to(source_path).c2w[:, :3, 3]  # (F, 3)
        trained = (self.sideways, self.vertical, self.forward)
        if not any(trained):
            far = float(moves.norm(dim=1).max())
            if far <= _NEGLIGIBLE:
                return ""
            return (
                f"the target camera moves {far:.3g} pose units, but the model was trained on "
                "cameras that only turn; use pan, tilt, roll or sweep, or load a model for cameras "
                "that move, such as novel_view_depth"
            )
        axes = zip(
            ("left or right", "up or down", "forward or back"),
            moves.abs().amax(dim=0).tolist(),
            trained,
            strict=True,
        )
        farther = [
            f"{far:.3g} pose units {name} (trained: {most:.3g})"
            for name, far, most in axes
            if far > most + _NEGLIGIBLE
        ]
        if not farther:
            return ""
        return (
            f"the target camera moves {' and '.join(farther)}, farther than the model was trained "
            "for; expect a worse picture, or shorten the path"
        )


def extent_of(path: CameraTrajectory) -> Extent:
    """The extent of a path."""
    relative = path.relative_to(path).c2w  # (F, 4, 4)
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
    axes = torch.cat((turns.rad2deg(), moves), dim=1)  # (F, 6)
    farthest = axes.abs().argmax(dim=0)
    pan, tilt, roll, right, up, forward = axes.gather(0, farthest[None])[0].tolist()
    # Back means close to the start, measured by the path's own size.
    size = axes.abs().amax(dim=0).clamp(min=1e-9)
    turns_back = bool((axes[-1].abs() <= 0.05 * size).all())
    focal = path.intrinsics[:, 0, 0]
    zoom = float(focal[-1] / focal[0])
    return Extent(pan, tilt, roll, right, up, forward, zoom, turns_back)


def without_jumps(angles: torch.Tensor, turn: float) -> torch.Tensor:
    """Angles (..., N) that go on past a whole turn; the first ones stay.

    turn: the angle of a whole turn in the same unit.
    """
    jumps = -turn * torch.round(angles.diff(dim=-1) / turn)
    return torch.cat([angles[..., :1], angles[..., 1:] + jumps.cumsum(-1)], dim=-1)
