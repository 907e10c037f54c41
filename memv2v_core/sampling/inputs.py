"""From clean videos to the inputs of the DiT beside the noisy target. Only this file decides them.

B rows, C channels, T latent frames, H rows and W columns of latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..bases.base_info import BaseInfo
from ..model.camera_encoder import FrameCameras
from ..model.memory_inputs import ConditioningStream, MemoryInputs
from ..tokens.merging import MergeConfig
from ..tokens.positions import source_ids, temporal_indices
from ..tokens.tokenizers import BASE_KERNEL
from ..vocabulary import CameraConditioning, MemoryRange, Role


@dataclass(frozen=True, eq=False)
class CleanVideo:
    """One clean video: the source, the segment before, or another memory.

    latent: (B, C, T, H, W) in the DiT's space.
    source: the latent that a memory was edited from, for a base that takes both on the channel
    axis. Other bases leave it unread.
    cameras: one per latent frame; None for a base without cameras.
    frames: which latent frames of its clip `latent` holds; None is 0 to T-1. num_frames: latent
    frames of that clip; None is as many as the target's.
    """

    role: Role
    kernel: int
    latent: torch.Tensor
    source: torch.Tensor | None = None
    cameras: FrameCameras | None = None
    frames: tuple[int, ...] | None = None
    num_frames: int | None = None


def shown_parts(
    video: CleanVideo, frames: tuple[int, ...] | None, has_source_ids: bool
) -> list[CleanVideo]:
    """The parts of a memory that the DiT sees.

    frames: latent frames of the whole memory `video`; None is all of them.
    Where the base tells videos apart by numbers, every frame is a reference image, a video of one
    frame with a number of its own. Else they keep their places in one video.
    """
    if frames is None:
        return [video]

    def part(chosen: tuple[int, ...], places: tuple[int, ...]) -> CleanVideo:
        source, cameras = video.source, video.cameras
        return replace(
            video,
            latent=video.latent[:, :, list(chosen)],
            source=None if source is None else source[:, :, list(chosen)],
            cameras=None if cameras is None else cameras.frames(chosen),
            frames=places,
            num_frames=video.latent.shape[2],
        )

    if has_source_ids:
        return [part((frame,), (0,)) for frame in frames]
    return [part(frames, frames)]


def assemble_inputs(
    base: BaseInfo,
    num_target: int,
    videos: Sequence[CleanVideo],
    *,
    target_cameras: FrameCameras | None = None,
    target_frames: tuple[int, ...] | None = None,
    merging: MergeConfig | None = None,
    memory_range: MemoryRange = "own",
    camera_conditioning: CameraConditioning | None = None,
) -> MemoryInputs:
    """The inputs of the DiT beside a target of `num_target` latent frames.

    target_frames: which frames of the target are drawn; None is all.
    camera_conditioning: None takes the way the base's weights were trained.
    A base that takes its source on the channel axis gets no source tokens.

    A base that tells videos apart by numbers gets every video from frame 0 on, and numbers in the
    order of `videos`.

    Source: App. D.1 and D.2, arXiv:2601.16296v2.
    """
    # A source on the channel axis lies beside the target, not in the sequence.
    given = [video for video in videos if video.role != "source" or base.has_source_tokens]
    streams = []
    for video in given:
        # Indices of the whole clip, of which the video may hold a few frames.
        whole = video.latent.shape[2] if video.frames is None else num_target
        count = video.num_frames or whole
        indices = tuple(range(count))
        if not base.has_source_ids:
            indices = temporal_indices(
                video.role, num_target, count, memory_range, base.memory_order
            )
        if video.frames is not None:
            indices = tuple(indices[frame] for frame in video.frames)
        # On the channel axis a memory looks like the target: the edit, then its source. Weights
        # that were trained on edits alone get the edit.
        latent = video.latent
        if video.source is not None and base.shows_sources_of_memories:
            latent = torch.cat((latent, video.source), dim=1)
        # Inside the DiT the segment before is a memory like the others.
        role: Role = "memory" if video.role == "previous" else video.role
        streams.append(ConditioningStream(role, video.kernel, latent, indices, video.cameras))
    return MemoryInputs(
        streams=numbered(streams, base.max_source_id) if base.has_source_ids else tuple(streams),
        target_cameras=target_cameras,
        target_frame_indices=target_frames,
        camera_conditioning=camera_conditioning or base.camera_conditioning,
        merging=merging,
        clean_timestep=base.clean_timestep,
        attention=base.attention,
        clean_reads_text=base.clean_reads_text,
    )


def numbered(
    streams: Sequence[ConditioningStream], max_source_id: int | None
) -> tuple[ConditioningStream, ...]:
    """`streams` with their numbers, in this order; see `source_ids`."""
    numbers = source_ids(len(streams), max_source_id or len(streams))
    return tuple(
        replace(stream, source_id=number) for stream, number in zip(streams, numbers, strict=True)
    )


def with_references(
    inputs: MemoryInputs, latents: Sequence[torch.Tensor], max_source_id: int | None
) -> MemoryInputs:
    """The inputs with clean videos that the user gave beside the source.

    latents: each (B, C, T, h, w) in the DiT's space; h and w may differ from the target's. They
    stand behind the source and before the memories, at 1x2x2, and all numbers move up. Without a
    source the first of them is the source, as in ComfyUI's own forward.
    """
    given = [
        ConditioningStream("reference", BASE_KERNEL, latent, tuple(range(latent.shape[2])))
        for latent in latents
    ]
    sources = [stream for stream in inputs.streams if stream.role == "source"]
    memories = [stream for stream in inputs.streams if stream.role != "source"]
    return replace(inputs, streams=numbered([*sources, *given, *memories], max_source_id))
