"""What one memory forward is given beside the noisy target."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ..tokens.merging import MergeConfig
from ..vocabulary import CameraConditioning, CleanTimestep, Role
from .camera_encoder import FrameCameras


@dataclass(frozen=True, eq=False)
class ConditioningStream:
    """One clean video: the source or a memory.

    latent: (B, C, T, H, W) as the DiT sees it, with the target's H and W. kernel: 2, 4 or 8.
    frame_indices: temporal RoPE index of each of the T latent frames
    (`positions.temporal_indices`).
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
    camera_conditioning: "per_video" is Eq. 17; "target" is Eq. 16, ReCamMaster's own: the target's
    camera everywhere.
    merging: None leaves every frame whole.
    """

    streams: tuple[ConditioningStream, ...] = ()
    target_cameras: FrameCameras | None = None
    target_frame_indices: tuple[int, ...] | None = None
    camera_conditioning: CameraConditioning = "per_video"
    merging: MergeConfig | None = field(default=None)
    clean_timestep: CleanTimestep = "target"

    def cameras_told(self, stream: ConditioningStream) -> FrameCameras | None:
        """The cameras that the tokens of `stream` are told, one a frame of it; None without
        cameras.

        Raises: ValueError for a video longer than the target where it is told the target's.
        """
        if self.target_cameras is None or self.camera_conditioning == "per_video":
            return stream.cameras
        num_frames, num_cameras = stream.latent.shape[2], self.target_cameras.c2w.shape[1]
        if num_frames > num_cameras:
            raise ValueError(
                f"camera_conditioning 'target' got a {stream.role} of {num_frames} latent frames, "
                f"wanted at most the target's {num_cameras}; use 'per_video', or memories no "
                "longer than this turn"
            )
        return self.target_cameras.frames(range(num_frames))


def window_inputs(
    inputs: MemoryInputs,
    num_frames: int,
    target_frames: Sequence[int],
    source_frames: Sequence[int],
) -> MemoryInputs:
    """What a part of a target of `num_frames` latent frames is given: its `target_frames`, as a
    video of its own.

    Temporal indices start anew at 0, as a DiT numbers whatever it is given. The source gives
    `source_frames`; memories stay whole. Every video keeps the cameras it is told beside the whole
    target.
    """
    streams = []
    for stream in inputs.streams:
        range_number = min(stream.frame_indices) // num_frames
        part: Sequence[int] = range(len(stream.frame_indices))
        if stream.role == "source":
            part = source_frames
        start, cameras = range_number * len(target_frames), inputs.cameras_told(stream)
        indices = range(start, start + len(part))
        streams.append(
            replace(
                stream,
                latent=stream.latent[:, :, list(part)],
                frame_indices=tuple(reversed(indices) if _is_reversed(stream) else indices),
                cameras=None if cameras is None else cameras.frames(part),
            )
        )
    told = inputs.target_cameras
    return replace(
        inputs,
        streams=tuple(streams),
        target_cameras=None if told is None else told.frames(target_frames),
        target_frame_indices=None,
        camera_conditioning="per_video",
    )


def _is_reversed(stream: ConditioningStream) -> bool:
    return stream.frame_indices[0] > stream.frame_indices[-1]
