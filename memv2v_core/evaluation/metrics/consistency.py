"""Whether two turns agree about a place that the source never showed.

Further measures keep the answer honest. F frames, H rows, W columns. Videos are (F, 3, H, W) in [0,
1], masks (F, 1, H, W) bool. Turns are compared at equal frame indices after an exact warp. Depth is
unknown, so the cameras must rotate about one centre.
"""

import math
from dataclasses import dataclass

import torch

from ...cameras.projection import SHARED_CENTRE_TOLERANCE, seen_mask, warp_by_rotation
from ...cameras.trajectory import CameraTrajectory


@dataclass(frozen=True, eq=False)
class Disagreement:
    """How far turn A, warped into the view of turn B, differs from turn B where both had to invent.

    mae, psnr: over the region, in [0, 1] and in dB; NaN where the region is empty.
    num_pixels: size of the region, over all frames.
    heat_map: (F, 1, H, W) mean absolute difference over the channels, zero outside the region.
    mask: the region, (F, 1, H, W).
    warped: turn A in B's view (F, 3, H, W), zero where unknown.
    """

    mae: float
    psnr: float
    num_pixels: int
    heat_map: torch.Tensor
    mask: torch.Tensor
    warped: torch.Tensor


def turn_disagreement(
    turn_a: torch.Tensor,
    camera_a: CameraTrajectory,
    turn_b: torch.Tensor,
    camera_b: CameraTrajectory,
    source_camera: CameraTrajectory | None = None,
) -> Disagreement:
    """Turn B against turn A warped into B's view.

    The region lies outside every frame of the source and inside the same frame of A.

    source_camera: None measures all of A's view. All paths are in one world space.

    Raises: ValueError for cameras that do not share one centre, and for frame counts or sizes that
    differ.
    """
    if turn_a.shape != turn_b.shape:
        raise ValueError(
            f"the turns got shapes {tuple(turn_a.shape)} and {tuple(turn_b.shape)}, wanted one "
            "shape (frames, 3, height, width); compare turns of one size and length"
        )
    # `region` starts as all pixels of B that the same frame of A shows.
    warped, region = warp_by_rotation(turn_a, camera_a, camera_b)
    # Where the source looked, both turns copy it: agreement there says nothing about memory.
    if source_camera is not None:
        region = region & unseen_region(camera_b, source_camera, *turn_b.shape[-2:]).to(
            region.device
        )
    heat_map = torch.where(region, (warped - turn_b).abs().mean(1, keepdim=True), 0.0)
    return Disagreement(
        mae=masked_mae(warped, turn_b, region),
        psnr=masked_psnr(warped, turn_b, region),
        num_pixels=int(region.sum()),
        heat_map=heat_map,
        mask=region,
        warped=warped,
    )


def unseen_region(
    camera: CameraTrajectory, source_camera: CameraTrajectory, height: int, width: int
) -> torch.Tensor:
    """True (F, 1, H, W) at pixels of `camera` that no frame of the source shows.

    Raises: ValueError when the cameras do not rotate about one centre.
    """
    # Depth is unknown: from another centre the source may see around a corner.
    distance = centre_distance(camera, source_camera)
    if distance > SHARED_CENTRE_TOLERANCE:
        raise ValueError(
            f"turn and source cameras got centres {distance:.4g} pose units apart, wanted 0; what "
            "the source never showed is exact only for cameras that rotate about one point (pan, "
            "tilt, roll)"
        )
    return ~seen_mask(camera, source_camera, height, width)


def centre_distance(first: CameraTrajectory, second: CameraTrajectory) -> float:
    """Largest distance in pose units between a centre of one path and a centre of the other."""
    return float(torch.cdist(first.c2w[:, :3, 3], second.c2w[:, :3, 3]).max())


def masked_mae(video: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean absolute difference of two videos (F, 3, H, W) inside the mask.

    NaN where the mask is empty.
    """
    return _masked_mean((video - reference).abs(), mask)


def masked_psnr(video: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> float:
    """PSNR in dB of two videos (F, 3, H, W) in [0, 1] inside the mask.

    NaN where the mask is empty, infinite where the videos are equal.
    """
    error = _masked_mean((video - reference).square(), mask)
    # Values span [0, 1], so the peak is 1.
    return math.inf if error == 0 else -10 * math.log10(error) if math.isfinite(error) else math.nan


def gradient_magnitude(video: torch.Tensor, mask: torch.Tensor) -> float:
    """Mean length of the brightness gradient of a video (F, 3, H, W) inside the mask.

    It tells agreement from blur: two flat pictures agree too. The unit is brightness per pixel
    step, by forward differences. A pixel counts where its right and lower neighbours also lie in
    the mask. NaN where no pixel counts.
    """
    here = video[..., :-1, :-1]
    across, down = video[..., :-1, 1:] - here, video[..., 1:, :-1] - here
    # A difference across the border of the mask would count as an edge.
    inside = mask[..., :-1, :-1] & mask[..., :-1, 1:] & mask[..., 1:, :-1]
    return _masked_mean(torch.hypot(across, down), inside)


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> float:
    # Summed in float64: a long video has more pixels than float32 can count.
    inside = values.double() * mask
    return float(inside.sum() / (mask.sum() * values.shape[1]))
