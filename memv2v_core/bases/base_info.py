"""What memory needs to know about a base model, beside its modules."""

from dataclasses import dataclass, replace

from ..model.adapter import AdapterConfig
from ..shapes import VaeRatios
from ..vocabulary import CameraConditioning, CleanTimestep, MemoryOrder, SourcePlacement, TurnMode


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
    latent_size: rows and columns of the latents it was made for, used where no video gives a size.
    num_frames: pixel frames of its window.
    memory_order: temporal order of memories that its weights were trained with.
    has_keyframe: whether a keyframe leads a segment that sees no memory.
    """

    model_name: str
    mode: TurnMode
    ratios: VaeRatios
    text_width: int | None
    clean_timestep: CleanTimestep
    has_cameras: bool
    camera_conditioning: CameraConditioning = "per_video"
    source_placement: SourcePlacement = "sequence"
    latent_size: tuple[int, int] = (60, 104)
    num_frames: int = 81
    memory_order: MemoryOrder = "forward"
    has_keyframe: bool = False

    @property
    def has_source_tokens(self) -> bool:
        """Whether a source video makes the sequence longer."""
        return self.source_placement == "sequence"


def adapted(info: BaseInfo, config: AdapterConfig, mode: TurnMode) -> BaseInfo:
    """The description of a base after an adapter of `config` is attached to it."""
    return replace(
        info,
        mode=mode,
        clean_timestep=config.clean_timestep,
        has_cameras=config.has_cameras,
        camera_conditioning=config.camera_conditioning,
        memory_order=config.memory_order,
        has_keyframe=config.has_keyframe,
    )
