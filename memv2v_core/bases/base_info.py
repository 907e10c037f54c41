"""What memory needs to know about a base model, beside its modules."""

from dataclasses import dataclass, replace

from ..cameras.extent import Reach
from ..model.adapter import AdapterConfig
from ..model.memory_inputs import are_constant
from ..shapes import VaeRatios
from ..vocabulary import (
    Attention,
    CameraConditioning,
    CleanTimestep,
    MemoryOrder,
    SourcePlacement,
    StreamIdentity,
    TurnMode,
)


@dataclass(frozen=True)
class BaseInfo:
    """The base model as memory sees it.

    model_name: caches of another name are refused.
    mode: "trained" or "training-free".
    ratios: the ratios of its VAE.
    text_width: width of its text tokens, where the empty prompt is a zero vector; None where a
    prompt is needed.
    clean_timestep: which timestep clean tokens get.
    has_cameras: whether cameras can condition it. camera_conditioning: how its camera weights were
    trained.
    source_placement: where it takes the source video: as tokens of the sequence, or on the target's
    channel axis (LucyEdit).
    stream_identity: how it tells clean videos apart. max_source_id: the largest number of a clean
    video in its training, where it tells them by numbers.
    latent_size: rows and columns of the latents it was made for, used where no video gives a size.
    num_frames: pixel frames of its window.
    memory_order: temporal order of memories that its weights were trained with.
    has_keyframe: whether a keyframe leads a segment that sees no memory.
    attention, clean_reads_text: what clean tokens see, see `MemoryInputs`.
    memories_carry_source: whether a memory lies beside its source, where the source takes the
    channel axis.
    expert_boundary: the noise level sigma below which the second DiT of a base of two takes over.
    has_frame_times: whether it takes a playback time of every frame beside the camera.
    refresh_every: calls between two refreshes of clean tokens that were measured to change nothing
    that matters; 1 where nobody has measured it.
    fov_deg: horizontal angle of the lens that its camera weights were trained with; None for the
    default lens.
    reach: how far the cameras of its training moved; None where nobody has recorded it.
    """

    model_name: str
    mode: TurnMode
    ratios: VaeRatios
    text_width: int | None
    clean_timestep: CleanTimestep
    has_cameras: bool
    camera_conditioning: CameraConditioning = "per_video"
    source_placement: SourcePlacement = "sequence"
    stream_identity: StreamIdentity = "temporal_ranges"
    max_source_id: int | None = None
    latent_size: tuple[int, int] = (60, 104)
    num_frames: int = 81
    memory_order: MemoryOrder = "forward"
    has_keyframe: bool = False
    attention: Attention = "two_way"
    clean_reads_text: bool = True
    memories_carry_source: bool = True
    expert_boundary: float | None = None
    has_frame_times: bool = False
    refresh_every: int = 1
    fov_deg: float | None = None
    reach: Reach | None = None

    @property
    def has_source_ids(self) -> bool:
        """Whether it tells clean videos apart by numbers."""
        return self.stream_identity == "source_id"

    @property
    def has_constant_clean_tokens(self) -> bool:
        """Whether no clean token depends on the target or the step."""
        return are_constant(self.attention, self.clean_timestep)

    @property
    def has_source_tokens(self) -> bool:
        """Whether a source video makes the sequence longer."""
        return self.source_placement == "sequence"

    @property
    def shows_sources_of_memories(self) -> bool:
        """Whether each memory needs the source that it was edited from."""
        return not self.has_source_tokens and self.memories_carry_source


def adapted(info: BaseInfo, config: AdapterConfig, mode: TurnMode) -> BaseInfo:
    """The description of a base after an adapter of `config` is attached to it.

    Measurements of the base alone do not hold any more.

    Raises: ValueError for memories without their source on a base that takes no source channels.
    """
    if not config.memories_carry_source and info.has_source_tokens:
        raise ValueError(
            f"the adapter's memories come without their source, and {info.model_name} takes its "
            "source as tokens, wanted a base with its source on the channel axis (LucyEdit); "
            "choose the adapter made for this base"
        )
    return replace(
        info,
        mode=mode,
        clean_timestep=config.clean_timestep,
        has_cameras=config.has_cameras,
        camera_conditioning=config.camera_conditioning,
        memory_order=config.memory_order,
        has_keyframe=config.has_keyframe,
        attention=config.attention,
        clean_reads_text=config.clean_reads_text,
        memories_carry_source=config.memories_carry_source,
        has_frame_times=config.has_frame_times,
        refresh_every=1,
        reach=None,
    )
