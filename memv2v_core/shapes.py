"""Size arithmetic between pixels, latents and tokens, in one place.

A *frame* is made of pixels, the VAE makes *latent frames* of frames, and a tokenizer makes *tokens*
of latent frames. The ratios always come from the VAE: nothing here assumes 4x in time or 8x in
space.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class VaeRatios:
    """How a VAE shrinks a video: `temporal` and `spatial` ratios and its latent `channels`."""

    temporal: int
    spatial: int
    channels: int


def padded_num_frames(num_frames: int, temporal_ratio: int) -> int:
    """Smallest count of the form ratio * n + 1 that holds `num_frames` pixel frames."""
    if num_frames < 1:
        raise ValueError(
            f"a video needs at least 1 frame, got {num_frames}; check the loader before this node"
        )
    # Rounds up: -(-a // b) is the ceiling of a / b.
    return -(-(num_frames - 1) // temporal_ratio) * temporal_ratio + 1


def num_latent_frames(num_frames: int, temporal_ratio: int) -> int:
    """Latent frames T of a video of `num_frames` pixel frames.

    Raises: ValueError when `num_frames` is not ratio * n + 1.
    """
    # Other counts would lose frames in the VAE without a word.
    padded = padded_num_frames(num_frames, temporal_ratio)
    if padded != num_frames:
        raise ValueError(
            f"num_frames got {num_frames}, wanted {temporal_ratio} * n + 1 for this VAE; "
            f"use {padded - temporal_ratio} or {padded} frames"
        )
    return (num_frames - 1) // temporal_ratio + 1


def latent_frame_indices(num_latent: int, temporal_ratio: int) -> tuple[int, ...]:
    """The pixel frame that stands for each latent frame: 0, ratio, 2 * ratio, ...

    ReCamMaster samples every 4th of 81 frames in the same way.
    """
    return tuple(i * temporal_ratio for i in range(num_latent))


def token_grid(height: int, width: int, kernel: int) -> tuple[int, int]:
    """Rows and columns of tokens that a 1 x kernel x kernel tokenizer makes of one latent frame.

    An H x W frame that the kernel does not divide is padded up.
    """
    return -(-height // kernel), -(-width // kernel)
