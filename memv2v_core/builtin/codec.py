"""The built-in models' VAE: a linear encoder and a small decoder, frame by frame.

One latent frame per frame, 8x smaller in space. A codec has 16 channels, like Wan2.1's latents, or
48, like Wan2.2's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..shapes import VaeRatios

SIDE = 8
_HIDDEN = 96


def codec_ratios(channels: int) -> VaeRatios:
    """Sizes of a codec's latents."""
    return VaeRatios(temporal=1, spatial=SIDE, channels=channels)


@dataclass(frozen=True, eq=False)
class PatchBasis:
    """Principal components of 8 x 8 patches.

    directions: (C, 192). mean: (192,). scale: (C,), the scale of each coefficient.
    """

    directions: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor


def fit_patch_basis(frames: torch.Tensor, channels: int = 16) -> PatchBasis:
    """Basis of the 8 x 8 patches of frames (N, 3, H, W) in [-1, 1].

    channels: how many components are kept.

    Our choice: coefficients are divided by the square root of their deviation. This lies half way
    between equal scale, where noise comes first, and equal variance, where detail drowns. One
    number then makes their mean variance 1.
    """
    patches = F.unfold(frames, SIDE, stride=SIDE).transpose(1, 2).flatten(0, 1)  # (patches, 192)
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / len(patches)  # (192, 192)
    values, vectors = torch.linalg.eigh(covariance.double())
    # eigh sorts upwards; the largest components come first here.
    values, vectors = values.flip(0)[:channels], vectors.flip(1)[:, :channels]
    # Eigenvalues are variances, so the fourth root is the square root of the deviation.
    scale = values.sqrt().sqrt()
    scale = scale * (values / scale**2).mean().sqrt()
    return PatchBasis(vectors.T.float(), mean, scale.float())


class Codec(nn.Module):
    """Encoder and decoder of videos (B, 3, F, H, W) in [-1, 1]; latents (B, C, F, H/8, W/8).

    used: channels that carry the video, the first of all `channels`. The others are zero, and the
    decoder ignores them.
    """

    def __init__(self, channels: int = 16, used: int | None = None) -> None:
        super().__init__()
        self.ratios = codec_ratios(channels)
        self.used = used = channels if used is None else used
        # One patch of 8 x 8 pixels becomes `used` coefficients, and back.
        self.analysis = nn.Conv2d(3, used, SIDE, stride=SIDE)
        self.synthesis = nn.ConvTranspose2d(used, 3, SIDE, stride=SIDE)
        # A residual that sees neighbouring patches. It grows by 2 and then by 4, in all by 8.
        self.refine = nn.Sequential(
            nn.Conv2d(used, _HIDDEN, 3, padding=1, padding_mode="replicate"),
            nn.SiLU(),
            nn.Conv2d(_HIDDEN, 4 * _HIDDEN // 2, 3, padding=1, padding_mode="replicate"),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(_HIDDEN // 2, _HIDDEN // 2, 3, padding=1, padding_mode="replicate"),
            nn.SiLU(),
            nn.Conv2d(_HIDDEN // 2, 16 * 8, 3, padding=1, padding_mode="replicate"),
            nn.PixelShuffle(4),
            nn.SiLU(),
            nn.Conv2d(8, 3, 3, padding=1, padding_mode="replicate"),
        )

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.analysis.weight.device

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        latent = _per_frame(self.analysis, video)
        # Zero channels after the used ones: F.pad counts axes from the last.
        num_unused = self.ratios.channels - self.used
        return latent if num_unused == 0 else F.pad(latent, (0, 0, 0, 0, 0, 0, 0, num_unused))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return _per_frame(lambda z: self.synthesis(z) + self.refine(z), latent[:, : self.used])

    @torch.no_grad()
    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """Latents (..., C, F, h, w) of frames (..., F, 3, H, W) in [0, 1]."""
        video = frames.reshape(-1, *frames.shape[-4:]).to(self.device).transpose(1, 2) * 2 - 1
        latent = self.encode(video)
        return latent.reshape(*frames.shape[:-4], *latent.shape[1:])

    @torch.no_grad()
    def decode_frames(self, latent: torch.Tensor) -> torch.Tensor:
        """Frames (..., F, 3, H, W) in [0, 1], on the CPU, of latents (..., C, F, h, w)."""
        video = self.decode(latent.reshape(-1, *latent.shape[-4:]).to(self.device))
        frames = ((video + 1) / 2).clamp(0, 1).transpose(1, 2).cpu()
        return frames.reshape(*latent.shape[:-4], *frames.shape[1:])


@torch.no_grad()
def start_codec(codec: Codec, basis: PatchBasis) -> None:
    """Set the linear parts from `basis`, and the refinement to zero."""
    channels, side = codec.used, SIDE
    last = codec.refine[-1]
    assert isinstance(last, nn.Conv2d)
    assert codec.analysis.bias is not None
    assert codec.synthesis.bias is not None
    assert last.bias is not None
    directions = basis.directions / basis.scale[:, None]
    codec.analysis.weight.copy_(directions.view(channels, 3, side, side))
    # directions @ (patch - mean), as a convolution and a bias.
    codec.analysis.bias.copy_(-directions @ basis.mean)
    codec.synthesis.weight.copy_(
        (basis.directions * basis.scale[:, None]).view(channels, 3, side, side)
    )
    # A transposed convolution has one bias per colour, so the mean patch becomes a mean colour.
    mean = basis.mean.view(3, side, side)
    codec.synthesis.bias.copy_(mean.mean((1, 2)))
    # A last layer of zeros makes the whole refinement add nothing.
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)


def _per_frame(
    function: Callable[[torch.Tensor], torch.Tensor], video: torch.Tensor
) -> torch.Tensor:
    frames = video.movedim(2, 1)
    return function(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).movedim(1, 2)
