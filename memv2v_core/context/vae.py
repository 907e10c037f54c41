"""The video VAE as a context encoder: latent patches beside the rays through them.

The paper's own memory reads the VAE's latents as streams of the memory forward, and needs no
encoder of this room. This one puts the same latents through the branch: a comparison then tells
what the encoder is worth from what the branch is worth (our choice).

C channels, T latent frames, H rows and W columns of latents.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..cameras.trajectory import CameraTrajectory
from ..model.camera_encoder import NUM_RAY_FEATURES, FrameCameras, ray_features
from ..shapes import VaeRatios, latent_frame_indices, num_latent_frames
from ..tokens.tokenizers import BASE_KERNEL, pad_to_kernel
from .encoder import require_clip, require_tokens


@dataclass(frozen=True, eq=False)
class VideoVaeEncoder:
    """Patches of 1x2x2 latents, each with the features of its ray.

    name: of the VAE. encode_frames: latents (C, T, H, W) of frames (F, 3, h, w) in [0, 1]. ratios:
    of the VAE.
    """

    name: str
    encode_frames: Callable[[torch.Tensor], torch.Tensor]
    ratios: VaeRatios

    @property
    def identity(self) -> str:
        return f"video VAE {self.name}, patches of {BASE_KERNEL} with rays"

    @property
    def width(self) -> int:
        return self.ratios.channels * BASE_KERNEL**2 + NUM_RAY_FEATURES

    @torch.no_grad()
    def encode(self, frames: torch.Tensor, cameras: CameraTrajectory) -> torch.Tensor:
        """Tokens (T * rows * columns, width), frame by frame, row by row.

        Raises: ValueError as `require_clip`, and for a number of frames that the VAE does not take.
        """
        require_clip("the video VAE", frames, cameras)
        num_latent = num_latent_frames(len(frames), self.ratios.temporal)
        latent = self.encode_frames(frames)  # (C, T, H, W)
        height, width = latent.shape[-2:]
        padded = pad_to_kernel(latent[None], BASE_KERNEL)[0]
        rows, columns = (side // BASE_KERNEL for side in padded.shape[-2:])
        # (C, T, rows, 2, columns, 2) to (T, rows, columns, C, 2, 2).
        cut = padded.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
        patches = cut.permute(1, 2, 4, 0, 3, 5).flatten(3).flatten(0, 2)
        chosen = cameras.frames(latent_frame_indices(num_latent, self.ratios.temporal))
        told = FrameCameras(chosen.c2w[None].float(), chosen.intrinsics[None].float())
        rays = ray_features(told, rows, columns, BASE_KERNEL, height, width)[0]
        tokens = torch.cat((patches.float(), rays.to(patches.device)), dim=1)
        return require_tokens("the video VAE", tokens, self.width)
