"""The inputs of one memory forward beside the noisy target."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ..tokens.merging import MergeConfig
from ..vocabulary import Attention, CameraConditioning, CleanTimestep, Role
from .camera_encoder import FrameCameras


@dataclass(frozen=True, eq=False)
class ConditioningStream:
    """One clean video: the source, a reference or a memory.

    latent: (B, C, T, H, W) as the DiT sees it. A reference may have H and W of its own.
    kernel: 2, 4 or 8.
    frame_indices: temporal RoPE index of each of the T latent frames
    (`positions.temporal_indices`).
    cameras: one per latent frame; None where the base takes no cameras.
    source_id: the number of the video, where the base tells videos apart so (`source_ids`).
    """

    role: Role
    kernel: int
    latent: torch.Tensor
    frame_indices: tuple[int, ...]
    cameras: FrameCameras | None = None
    source_id: float | None = None

    def to(self, device: torch.device) -> "ConditioningStream":
        """The same video on a device."""
        cameras = None if self.cameras is None else self.cameras.to(device)
        return replace(self, latent=self.latent.to(device, non_blocking=True), cameras=cameras)


def are_constant(attention: Attention, clean_timestep: CleanTimestep) -> bool:
    """Whether clean tokens that see so much depend on neither target nor step."""
    return attention == "one_way" and clean_timestep == "zero"


@dataclass(frozen=True, eq=False)
class MemoryInputs:
    """Everything that stays the same in all steps of one run.

    target_frame_indices: temporal RoPE indices of the target; None is 0..T-1.
    camera_conditioning: "per_video" is Eq. 17: each video's tokens get its own camera. "target" is
    Eq. 16, as in ReCamMaster: all tokens get the target's camera.
    merging: None leaves every frame whole.
    clean_timestep: which timestep clean tokens get: "zero", or the "target"'s.
    attention: in "one_way" clean tokens attend to clean tokens alone; the target attends to all.
    clean_reads_text: whether clean tokens attend to the prompt.
    With one_way, timestep zero, no text and no merging, no clean token depends on the target, the
    prompt or the step (our choice; the paper is silent).
    """

    streams: tuple[ConditioningStream, ...] = ()
    target_cameras: FrameCameras | None = None
    target_frame_indices: tuple[int, ...] | None = None
    camera_conditioning: CameraConditioning = "per_video"
    merging: MergeConfig | None = field(default=None)
    clean_timestep: CleanTimestep = "target"
    attention: Attention = "two_way"
    clean_reads_text: bool = True

    def to(self, device: torch.device) -> "MemoryInputs":
        """The same inputs on a device."""
        told = self.target_cameras
        return replace(
            self,
            streams=tuple(stream.to(device) for stream in self.streams),
            target_cameras=None if told is None else told.to(device),
        )

    @property
    def has_constant_clean_tokens(self) -> bool:
        """Whether no clean token depends on the target or the step, but for a choice in merging."""
        return are_constant(self.attention, self.clean_timestep)

    @property
    def has_shared_clean_tokens(self) -> bool:
        """Whether one row of clean tokens serves every prompt, target and step."""
        return self.has_constant_clean_tokens and not self.clean_reads_text and self.merging is None

    @property
    def has_source_ids(self) -> bool:
        """Whether every video has a number; the target's is 0."""
        return any(stream.source_id is not None for stream in self.streams)

    def cameras_told(self, stream: ConditioningStream) -> FrameCameras | None:
        """The cameras that the tokens of `stream` get, one per frame; None without cameras.

        Raises: ValueError for a video that is longer than the target and gets the target's cameras.
        """
        if self.target_cameras is None or self.camera_conditioning == "per_video":
            return stream.cameras
        # A memory may be shorter than the target: it gets the cameras of the first frames.
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
    """The inputs for a part of a target, as if the part were a whole video.

    num_frames: latent frames of the whole target. target_frames: the frames of the part.
    source_frames: the source's frames beside the part; memories stay whole.

    Temporal indices start again at 0, since a DiT numbers its input from 0. Every video keeps the
    cameras that it gets beside the whole target.
    """
    streams = []
    for stream in inputs.streams:
        # Which range of temporal indices the stream has: 1 source, 2 memories. The ranges become as
        # long as the part.
        range_number = min(stream.frame_indices) // num_frames
        part: Sequence[int] = range(len(stream.frame_indices))
        if stream.role == "source":
            part = source_frames
        # Cameras are taken before the target is cut: "target" depends on the whole target.
        start, cameras = range_number * len(target_frames), inputs.cameras_told(stream)
        # The order of the stream stays: reversed indices stay reversed.
        indices = range(start, start + len(part))
        streams.append(
            replace(
                stream,
                latent=stream.latent[:, :, list(part)],
                frame_indices=tuple(reversed(indices) if _is_reversed(stream) else indices),
                cameras=None if cameras is None else cameras.frames(part),
            )
        )
    # From here on every stream carries its cameras itself, hence "per_video".
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
