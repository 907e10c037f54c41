"""How far the camera of a video is from the camera that was asked for: RotErr and TransErr.

An estimator finds the path in a world and a scale of its own. So both paths start at the same
camera before they are compared, every pose relative to the first frame that has one: (inverse(c2w
of that frame) @ c2w). The scale of a video is unknown, too: two conventions deal with it, and both
are measured. F frames.

Ours, means over the posed frames but the first, whose error is zero by construction:
    RotErr: arccos((tr(R_est R_asked^T) - 1) / 2), in degrees.
    TransErr: |s t_est - t_asked|, with one scale s >= 0 for the path that makes the sum of squares
    least, in percent of the asked path's largest distance from its first frame. A path that runs
    against the asked one gets s = 0 and about the error of a camera that never moves.

CamI2V's, sums over all frames, the first included, so they grow with the length of a clip:
    RotErr: the same angle, in radians.
    TransErr: |t_est / max |t_est| - t_asked / max |t_asked||, a plain number.
    CamMC: the Frobenius norm of the difference of both [R|t], with t divided as above.
    Published tables hold means over clips. CamI2V drops a clip in which a frame has no pose, and so
    do its three columns here: they are NaN.

Numbers of the two conventions cannot be compared with each other. ReCamMaster's own code for
RotErr and TransErr is unpublished, and the units of its table are disputed (issue 65 of its
repository): neither convention is known to reproduce that table, nor Table 2 of
arXiv:2601.16296v2.

Source: evaluation/glomap_evaluation.py of ZGCTroy/CamI2V, RotErr, TransErr_rel and CamMC_rel, for
the second convention. Its TransErr_abs and CamMC_abs take their scale from a depth network and are
left out.
Our choice: the first convention.
"""

import math
from dataclasses import dataclass

import torch

from ....cameras.projection import SHARED_CENTRE_TOLERANCE
from ....cameras.trajectory import CameraTrajectory, require_length
from .estimator import EstimatedPoses

# One pose has nothing to be relative to.
MIN_POSED_FRAMES = 2
# CamI2V adds this to the length by which it divides.
CAMI2V_EPSILON = 1e-9


@dataclass(frozen=True)
class PathErrors:
    """How far an estimated path is from the asked one; the module says how each is measured.

    posed_percent: the share of frames in which the estimator found a pose; the others are left out.
    rotation_deg, translation_percent: RotErr and TransErr in our convention.
    cami2v_rotation_rad, cami2v_translation, cami2v_motion: RotErr, TransErr and CamMC of CamI2V.

    All errors are NaN with fewer than 2 posed frames. The errors with a translation are NaN for an
    asked path without one (no centre further than 1e-6 pose units from the first): nothing tells
    there what a large distance is. CamI2V's are NaN unless every frame is posed.
    """

    posed_percent: float
    rotation_deg: float = math.nan
    translation_percent: float = math.nan
    cami2v_rotation_rad: float = math.nan
    cami2v_translation: float = math.nan
    cami2v_motion: float = math.nan


def path_errors(estimated: EstimatedPoses, asked: CameraTrajectory) -> PathErrors:
    """The errors of one path.

    Raises: ValueError when the paths differ in length.
    """
    require_length(asked, len(estimated.c2w), "video to measure")
    is_posed = estimated.is_posed
    posed_percent = 100 * float(is_posed.double().mean())
    if int(is_posed.sum()) < MIN_POSED_FRAMES:
        return PathErrors(posed_percent)
    found = _relative_to_first(estimated.c2w[is_posed])  # (P, 4, 4), P posed frames
    wanted = _relative_to_first(asked.c2w.cpu()[is_posed])
    angles_rad = rotation_angles_rad(found[:, :3, :3], wanted[:, :3, :3])
    # All of the asked path: its size must not depend on what an estimator could pose.
    path_size = _largest_distance(_relative_to_first(asked.c2w.cpu()))
    has_translation = path_size > SHARED_CENTRE_TOLERANCE
    distances = scaled_distances(found[:, :3, 3], wanted[:, :3, 3])
    is_complete = bool(is_posed.all())
    return PathErrors(
        posed_percent,
        math.degrees(float(angles_rad[1:].mean())),
        100 * float(distances[1:].mean()) / path_size if has_translation else math.nan,
        float(angles_rad.sum()) if is_complete else math.nan,
        *(_cami2v_sums(found, wanted) if is_complete and has_translation else (math.nan, math.nan)),
    )


def rotation_angles_rad(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Angles (...,) in 0..pi between two sets of rotations (..., 3, 3).

    The same as arccos((tr(A B^T) - 1) / 2), which loses half of the digits near 0 and near pi.
    """
    turn = first @ second.transpose(-1, -2)
    # Twice the axis times the sine of the angle: the part that changes sign under transposition.
    odd = turn - turn.transpose(-1, -2)
    sine = torch.stack([odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]], -1).norm(dim=-1) / 2
    cosine = (turn.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return torch.atan2(sine, cosine)


def scaled_distances(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Distances (P,) between two paths (P, 3) after the best scale of `found`.

    The scale is the one from 0 up with the least sum of squares.
    """
    overlap, size = (found * wanted).sum(), found.square().sum()
    # The sum of squares is a parabola in the scale: below zero, its best allowed value is zero.
    scale = (overlap / size).clamp(min=0) if size > 0 else 0.0
    return (scale * found - wanted).norm(dim=-1)


def _cami2v_sums(found: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    """TransErr and CamMC of CamI2V for two relative paths (F, 4, 4)."""
    first, second = (
        torch.cat([c2w[:, :3, :3], c2w[:, :3, 3:] / (_largest_distance(c2w) + CAMI2V_EPSILON)], -1)
        for c2w in (found, wanted)
    )
    difference = first - second  # (F, 3, 4)
    return (
        float(difference[..., 3].norm(dim=-1).sum()),
        float(difference.flatten(1).norm(dim=-1).sum()),
    )


def _relative_to_first(c2w: torch.Tensor) -> torch.Tensor:
    return torch.linalg.inv(c2w[0]) @ c2w


def _largest_distance(c2w: torch.Tensor) -> float:
    """The largest distance of a centre of a path (F, 4, 4) from the origin."""
    return float(c2w[:, :3, 3].norm(dim=-1).max())
