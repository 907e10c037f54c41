"""What decides the result of a turn beside model, prompts and noise, as plain values and tensors.

A later run compares a hash of them to find what changed.
"""

from dataclasses import astuple

from ..cameras.trajectory import CameraTrajectory
from ..tokens.budget import TokenPlan
from .turn import Turn


def turn_parts(turn: Turn) -> tuple[object, ...]:
    """Source, cameras, memories and how they are shown."""
    return (
        turn.source,
        camera_parts(turn.source_path),
        camera_parts(turn.target_path),
        tuple(entry.entry_id for entry in turn.memories),
        plan_parts(turn.plan),
    )


def camera_parts(path: CameraTrajectory | None) -> tuple[object, ...] | None:
    """The tensors of a path; None where there is none."""
    return None if path is None else (path.c2w, path.intrinsics, path.times)


def plan_parts(plan: TokenPlan | None) -> tuple[object, ...] | None:
    """How memories are shown; None where the model sees none, since nothing is shown then."""
    if plan is None or not plan.kernels:
        return None
    return (
        plan.kernels,
        None if plan.merging is None else astuple(plan.merging),
        plan.memory_range,
        plan.camera_conditioning,
        plan.is_automatic,
        plan.memory_frames,
        astuple(plan.reuse),
        # 1, the only strength of older versions, is not named: their sessions stay valid.
        *((plan.strength,) if plan.is_blended else ()),
    )
