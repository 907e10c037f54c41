"""ApplyMemory: attach source, memories and cameras to a native MODEL."""

import comfy.model_management
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.latest import io, ui

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.cache.entry import MemoryEntry
from ..memv2v_core.cameras.trajectory import CameraTrajectory, require_length, static_trajectory
from ..memv2v_core.sampling.turn import Shot
from ..memv2v_core.shapes import num_latent_frames
from ..memv2v_core.tokens.budget import TokenPlan
from .attachment import LoadedAdapter, base_info, with_adapter
from .io_types import CATEGORY, Adapter, Camera, Plan
from .patching import MemoryPatch

SHARED_INPUTS = [
    io.Model.Input(
        "model",
        tooltip="From Load Memory-V2V Model; LoRAs and other patches may come before or after.",
    ),
    io.Conditioning.Input(
        "positive",
        optional=True,
        tooltip="The prompt. Leave it empty for a model that reads no prompt.",
    ),
    io.Conditioning.Input(
        "negative", optional=True, tooltip="The negative prompt; unused at cfg 1."
    ),
    io.Latent.Input(
        "source", optional=True, tooltip="The source video, encoded by this model's VAE."
    ),
    Plan.Input(
        "plan", optional=True, tooltip="Memories from Dynamic Tokenize. Empty on a first turn."
    ),
    Camera.Input(
        "source_camera",
        optional=True,
        tooltip="The source's camera. Left out, it is taken as static.",
    ),
    Camera.Input(
        "target_camera",
        optional=True,
        tooltip="The camera path to shoot this turn along; nothing for a base without camera "
        "weights.",
    ),
]
ADAPTER_INPUT = Adapter.Input(
    "adapter",
    optional=True,
    tooltip="From Load Memory Adapter, for a model that another loader loaded.",
)


class ApplyMemory(io.ComfyNode):
    """Memory for any native sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApplyMemory",
            display_name="Apply Memory",
            category=CATEGORY,
            description="Lets a model see the source, its memories and every video's own camera, "
            "for any native sampler. With nothing connected the model is unchanged, "
            "bit for bit.",
            inputs=[
                *SHARED_INPUTS,
                io.Int.Input(
                    "batch_size",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Variants made at once, each with its own noise.",
                ),
                ADAPTER_INPUT,
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with memory."),
                io.Conditioning.Output(
                    display_name="positive", tooltip="The prompt, or the model's empty prompt."
                ),
                io.Conditioning.Output(
                    display_name="negative", tooltip="The negative prompt, or the empty prompt."
                ),
                io.Latent.Output(
                    display_name="latent",
                    tooltip="An empty latent of the size and length to sample.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: ModelPatcher,
        positive: list | None = None,
        negative: list | None = None,
        source: dict | None = None,
        plan: TokenPlan | None = None,
        source_camera: CameraTrajectory | None = None,
        target_camera: CameraTrajectory | None = None,
        batch_size: int = 1,
        adapter: LoadedAdapter | None = None,
    ) -> io.NodeOutput:
        model = with_adapter(model, adapter)
        info = base_info(model)
        shot = make_shot(info, source, plan, source_camera, target_camera)
        return io.NodeOutput(
            with_memory(model, shot, plan, info),
            *conditionings(positive, negative, shot, info),
            empty_latent(shot, plan, info, batch_size),
            ui=ui.PreviewText(describe_turn(shot, plan, info)),
        )


def make_shot(
    info: BaseInfo,
    source: dict | None,
    plan: TokenPlan | None,
    source_camera: CameraTrajectory | None,
    target_camera: CameraTrajectory | None,
) -> Shot:
    """The checked inputs of one turn.

    Raises: ValueError for cameras that the base cannot take, path lengths and latents that do not
    fit, and memories of another model or size, and a base that edits its source and got none.
    """
    latent = _source_latent(source, info)
    if latent is None and not info.has_source_tokens:
        raise ValueError(
            f"source got nothing, but {info.model_name} edits a video; connect VAE Encode"
        )
    has_streams = latent is not None or bool(memories_of(plan))
    _require_cameras(info, source_camera, target_camera, has_streams)
    if latent is not None and target_camera is not None:
        num_frames = (latent.shape[1] - 1) * info.ratios.temporal + 1
        require_length(target_camera, num_frames, "target")
        if source_camera is not None:
            require_length(source_camera, num_frames, "source")
    if source_camera is None and target_camera is not None:
        lens = target_camera.intrinsics[0]
        source_camera = static_trajectory(target_camera.num_frames, lens, is_assumed=True)
    shot = Shot(latent, source_camera, target_camera)
    for entry in memories_of(plan):
        _require_fit(entry, shot, info)
    return shot


def memories_of(plan: TokenPlan | None) -> tuple[MemoryEntry, ...]:
    """The memories of a plan, best first; none without a plan, as on a first turn."""
    return plan.retrieval.entries if plan is not None else ()


def with_memory(
    model: ModelPatcher, shot: Shot, plan: TokenPlan | None, info: BaseInfo
) -> ModelPatcher:
    """`model` with memory; the very same model where there is nothing to see."""
    if shot.source_latent is None and shot.target_path is None and not memories_of(plan):
        return model
    return MemoryPatch(shot, plan, info, latent_shape(shot, plan, info)).attach(model)


def conditionings(
    positive: list | None, negative: list | None, shot: Shot, info: BaseInfo
) -> tuple[list, list]:
    """Both prompts, with the source beside the target's channels where the base takes it there."""
    prompts = prompt_or_empty(positive, info), prompt_or_empty(negative, info)
    if info.has_source_tokens:
        return prompts
    source = {"concat_latent_image": shot.source_latent.unsqueeze(0)}
    return tuple(node_helpers.conditioning_set_values(prompt, source) for prompt in prompts)


def negative_or_unread(positive: list | None, negative: list | None, cfg: float) -> list | None:
    """The negative prompt; at cfg 1 nobody reads it, so that the positive one can stand in where
    there is none.
    """
    return positive if negative is None and cfg == 1 else negative


def prompt_or_empty(conditioning: list | None, info: BaseInfo) -> list:
    """The given CONDITIONING, or the empty prompt of a model that reads none.

    Raises: ValueError when the model needs a prompt.
    """
    if conditioning is not None:
        return conditioning
    if info.text_width is None:
        raise ValueError(
            f"positive or negative got nothing, but {info.model_name} reads prompts; connect CLIP "
            "Text Encode to both"
        )
    return [[torch.zeros(1, 1, info.text_width), {}]]


def latent_shape(shot: Shot, plan: TokenPlan | None, info: BaseInfo) -> tuple[int, int, int, int]:
    """(C, T, H, W) of this turn: the source's; else as long as the path and as large as the
    memories; else what the base was made for.

    Raises: ValueError for a path whose length the VAE's temporal ratio does not fit.
    """
    if shot.source_latent is not None:
        return tuple(shot.source_latent.shape)
    memories = memories_of(plan)
    num_latent = memories[0].latent.shape[1] if memories else 1
    if shot.target_path is not None:
        num_latent = num_latent_frames(shot.target_path.num_frames, info.ratios.temporal)
    height, width = memories[0].latent.shape[2:] if memories else info.latent_size
    return info.ratios.channels, num_latent, height, width


def empty_latent(
    shot: Shot, plan: TokenPlan | None, info: BaseInfo, batch_size: int
) -> dict[str, torch.Tensor]:
    """A LATENT of zeros to sample this turn from."""
    shape = latent_shape(shot, plan, info)
    return {
        "samples": torch.zeros(
            batch_size, *shape, device=comfy.model_management.intermediate_device()
        )
    }


def describe_turn(shot: Shot, plan: TokenPlan | None, info: BaseInfo) -> str:
    """What the model will see, which mode runs, and what had to be assumed."""
    kernels = plan.kernels if plan is not None else ()
    pairs = zip(memories_of(plan), kernels, strict=True)
    memories = ", ".join(f"turn {entry.turn} at 1x{kernel}x{kernel}" for entry, kernel in pairs)
    lines = [f"{info.model_name}, {info.mode} mode", f"memories: {memories or 'none'}"]
    if shot.source_path is not None and shot.source_path.is_assumed:
        lines.append("the source's camera is unknown and taken as static")
    return "\n".join(lines)


def _source_latent(source: dict | None, info: BaseInfo) -> torch.Tensor | None:
    if source is None:
        return None
    samples = source["samples"]
    if samples.ndim != 5 or samples.shape[1] != info.ratios.channels:
        raise ValueError(
            f"source got a latent of shape {tuple(samples.shape)}, wanted (1, "
            f"{info.ratios.channels}, frames, height, width) from the VAE of {info.model_name}; "
            "encode the whole clip with that VAE"
        )
    if samples.shape[0] != 1:
        raise ValueError(
            f"source got {samples.shape[0]} videos, wanted 1; take one with Latent From Batch"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("source got NaN or infinity, wanted finite numbers; encode the clip again")
    return samples[
        0
    ].clone()  # its own storage: what follows keeps it, the whole batch need not live


def _require_cameras(
    info: BaseInfo,
    source: CameraTrajectory | None,
    target: CameraTrajectory | None,
    has_streams: bool,
) -> None:
    for name, path in (("source_camera", source), ("target_camera", target)):
        if path is not None and not info.has_cameras:
            raise ValueError(
                f"{name} got a path, but {info.model_name} has no camera weights; load a model "
                "with a Memory-V2V or ReCamMaster adapter, or disconnect the path"
            )
    if target is None and info.has_cameras and (has_streams or source is not None):
        raise ValueError(
            "target_camera got nothing, wanted the path of this turn; connect a Camera Trajectory"
        )


def _require_fit(entry: MemoryEntry, shot: Shot, info: BaseInfo) -> None:
    if entry.model_name != info.model_name:
        raise ValueError(
            f"memory {entry.entry_id[:8]} was made by {entry.model_name!r}, wanted "
            f"{info.model_name!r}; latents of one model mean nothing to another, so start a new "
            "cache for this model"
        )
    like = shot.source_latent
    if like is not None and entry.latent_shape != (like.shape[0], *like.shape[2:]):
        raise ValueError(
            f"memory {entry.entry_id[:8]} has latents of {entry.latent_shape} (channels, height, "
            f"width), wanted {(like.shape[0], *like.shape[2:])} as the source; use one size "
            "throughout a session, or start a new cache"
        )


NODES = [ApplyMemory]
