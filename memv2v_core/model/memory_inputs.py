"""What one memory forward is given beside the noisy target."""

from dataclasses import dataclass, field
from typing import Literal

import torch

from ..tokens.layout import Role
from ..tokens.merging import MergeConfig
from .camera_encoder import FrameCameras

CameraConditioning = Literal["per_video", "target"]


@dataclass(frozen=True, eq=False)
class ConditioningStream:
    """One clean video: the source or a memory.

    latent: (B, C, T, H, W) as the DiT sees it, with the target's H and W. kernel: 2, 4 or 8.
    frame_indices: temporal RoPE index of each of the T latent frames (`positions.temporal_indices`).
    cameras: one a latent frame, or None where the base takes no cameras.
    """

    role: Role
    kernel: int
    latent: torch.Tensor
    frame_indices: tuple[int, ...]
    cameras: FrameCameras | None = None


@dataclass(frozen=True, eq=False)
class MemoryInputs:
    """Everything that stays the same from step to step of one run.

    target_frame_indices: temporal RoPE indices of the target, 0..T-1 if None.
    camera_conditioning: "per_video" is Eq. 17; "target" is Eq. 16, ReCamMaster's own: the target's pose everywhere.
    merging: None leaves every frame whole.
    """

    streams: tuple[ConditioningStream, ...] = ()
    target_cameras: FrameCameras | None = None
    target_frame_indices: tuple[int, ...] | None = None
    camera_conditioning: CameraConditioning = "per_video"
    merging: MergeConfig | None = field(default=None)
    clean_timestep: Literal["zero", "target"] = "target"
