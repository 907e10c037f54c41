"""The seam of memory encoders: what makes context tokens of an earlier turn.

The paper compares three: the video VAE, whose latents the memory forward reads as streams, CUT3R's
state, and LVSM's scene latents. The last two enter the DiT through a branch (`branch`).

F frames, H rows, W columns, N tokens.

Source: Sec. 3.2 and App. B, arXiv:2601.16296v2.
"""

from typing import Protocol

import torch

from ..cameras.trajectory import CameraTrajectory

# Rounding that a decoder may leave outside [0, 1].
_TOLERANCE = 1e-3


class ContextEncoder(Protocol):
    """Makes context tokens of one video. Its weights stay frozen.

    identity: what decides the tokens beside the video: the kind of the encoder, its sizes and a
    hash of its weights. A branch is trained for one identity.
    width: numbers of a token.
    """

    @property
    def identity(self) -> str: ...
    @property
    def width(self) -> int: ...

    def encode(self, frames: torch.Tensor, cameras: CameraTrajectory) -> torch.Tensor:
        """Context tokens (N, width) float32 of frames (F, 3, H, W) in [0, 1].

        cameras: one a frame.

        Raises: ValueError for frames that are no such clip, or cameras of another length.
        """
        ...


def require_clip(encoder: str, frames: torch.Tensor, cameras: CameraTrajectory) -> None:
    """Raise ValueError unless frames are (F, 3, H, W) floats in [0, 1] with a camera each.

    encoder: its name in messages.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise ValueError(
            f"{encoder} got frames of shape {tuple(frames.shape)}, wanted (frames, 3, height, "
            "width); pass one video without a batch"
        )
    if not frames.is_floating_point():
        raise ValueError(
            f"{encoder} got frames of type {frames.dtype}, wanted floats from 0 to 1; divide bytes "
            "by 255"
        )
    low, high = frames.min().item(), frames.max().item()
    # Written so that NaN fails too.
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
        raise ValueError(
            f"{encoder} got frames from {low:g} to {high:g}, wanted finite numbers from 0 to 1; "
            "pass decoded pictures, not latents"
        )
    if cameras.num_frames != len(frames):
        raise ValueError(
            f"{encoder} got {cameras.num_frames} cameras for {len(frames)} frames, wanted one a "
            "frame; resample the camera path"
        )


def require_tokens(encoder: str, tokens: torch.Tensor, width: int) -> torch.Tensor:
    """`tokens` as they are.

    Raises: ValueError unless they are (N, width) finite numbers.
    """
    if tokens.ndim != 2 or tokens.shape[1] != width or not len(tokens):
        raise ValueError(
            f"{encoder} gave tokens of shape {tuple(tokens.shape)}, wanted (N, {width}); use the "
            "weights that belong to this encoder"
        )
    if not tokens.isfinite().all():
        raise ValueError(
            f"{encoder} gave NaN or infinity, wanted finite tokens; check its weights, or run it "
            "in fp32"
        )
    return tokens
