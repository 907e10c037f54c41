"""Clips and cameras at the size that is prepared.

F frames, H rows, W columns.
"""

import torch
import torch.nn.functional as F

from ...cameras.trajectory import CameraTrajectory
from ...shapes import latent_frame_indices, num_latent_frames

_FRAMES_AT_ONCE = 16
# A repeated frame differs by noise of its coding alone: a quarter of one of 255 steps.
_LEAST_CHANGE = 0.001


def cover_and_crop(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Frames (F, 3, H, W) scaled to cover `height` x `width`, then cut to their middle part.

    Source: crop_and_resize of ReCamMaster's train_recammaster.py.
    """
    rows, columns = frames.shape[-2:]
    scale = max(height / rows, width / columns)
    # Rounding must not leave a gap.
    size = (max(height, round(rows * scale)), max(width, round(columns * scale)))
    top, left = round((size[0] - height) / 2), round((size[1] - width) / 2)
    fitted = torch.empty(len(frames), 3, height, width)
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        part = frames[start : start + _FRAMES_AT_ONCE]
        if size != (rows, columns):
            part = F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False)
        fitted[start : start + _FRAMES_AT_ONCE] = part[
            :, :, top : top + height, left : left + width
        ]
    return fitted.clamp_(0, 1)


def fit_cameras(
    cameras: CameraTrajectory, num_frames: int, temporal_ratio: int, aspect: float
) -> CameraTrajectory:
    """One camera a latent frame, for the middle part of the picture.

    cameras: of every frame. aspect: width divided by height of what is prepared.

    Raises: ValueError when there are fewer cameras than `num_frames`.
    """
    if cameras.num_frames < num_frames:
        raise ValueError(
            f"got cameras for {cameras.num_frames} frames, wanted the {num_frames} of the clip; "
            "write the missing ones, or lower num_frames"
        )
    num_latent = num_latent_frames(num_frames, temporal_ratio)
    return cameras.frames(latent_frame_indices(num_latent, temporal_ratio)).cropped_to(aspect)


def without_repeats(frames: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, H, W) less those that show the frame before once more."""
    changes = [1.0]
    changes += [
        float((after - before).abs().mean())
        for before, after in zip(frames[:-1], frames[1:], strict=True)
    ]
    return frames[torch.tensor(changes) >= _LEAST_CHANGE]
