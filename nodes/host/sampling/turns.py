"""A turn from the inputs of a node, and the MODEL, prompts and latent to sample it with."""

from collections.abc import Callable

import comfy.model_management
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.bases.base_info import BaseInfo
from ....memv2v_core.cameras.trajectory import CameraTrajectory
from ....memv2v_core.sampling.reuse import ReuseReport
from ....memv2v_core.sampling.turn import Turn, checked_turn
from ....memv2v_core.tokens.budget import TokenPlan
from ..models.attachment import base_info
from ..patch.attention_kernel import fastest_attention
from ..patch.memory_patch import MemoryPatch, log_reuse


def connected_turn(
    model: ModelPatcher,
    source: dict | None,
    plan: TokenPlan | None,
    source_camera: CameraTrajectory | None,
    target_camera: CameraTrajectory | None,
) -> Turn:
    """The checked turn of a node's inputs.

    Raises: ValueError for inputs that do not fit each other or the model, see `checked_turn`.
    """
    info = base_info(model)
    latent = None if source is None else source_latent(source, info)
    return checked_turn(info, latent, plan, source_camera, target_camera)


def source_latent(source: dict, info: BaseInfo) -> torch.Tensor:
    """The source video (C, T, H, W) of a LATENT.

    Raises: ValueError for a latent of another VAE, more than one video, and NaN.
    """
    samples = one_video("source", source, info)
    if not torch.isfinite(samples).all():
        raise ValueError("source got NaN or infinity, wanted finite numbers; encode the clip again")
    # Its own storage, so that it does not keep the whole batch in memory.
    return samples.clone()


def one_video(name: str, latent: dict, info: BaseInfo) -> torch.Tensor:
    """The one video (C, T, H, W) of the LATENT in the input `name`.

    Raises: ValueError for a latent of another VAE, and for more than one video.
    """
    samples = latent["samples"]
    if samples.ndim != 5 or samples.shape[1] != info.ratios.channels:
        raise ValueError(
            f"{name} got a latent of shape {tuple(samples.shape)}, wanted (1, "
            f"{info.ratios.channels}, frames, height, width) from the VAE of {info.model_name}; "
            "encode the whole clip with that VAE"
        )
    if samples.shape[0] != 1:
        raise ValueError(
            f"{name} got {samples.shape[0]} videos, wanted 1; take one with Latent From Batch"
        )
    return samples[0]


def with_memory(
    model: ModelPatcher,
    turn: Turn,
    tell: Callable[[ReuseReport], None] | None = None,
    fast_attention: bool = True,
) -> ModelPatcher:
    """`model` with memory; the same model where a turn gives it nothing to see.

    tell: gets the report about reused clean tokens of every run; None writes it to the log.
    fast_attention: whether a run asks for the fastest exact attention kernel of its GPU.
    """
    if turn.is_bare:
        return model
    kernel = fastest_attention if fast_attention else None
    return MemoryPatch(turn, tell or log_reuse, kernel).attach(model)


def conditionings(positive: list | None, negative: list | None, turn: Turn) -> tuple[list, list]:
    """Both prompts.

    They also carry the source where the base takes it on the channel axis.
    """
    prompts = required_prompts(positive, negative, turn.base)
    if turn.base.has_source_tokens:
        return prompts
    assert turn.source is not None, "a base that edits its source has one"
    # The key under which ComfyUI's own nodes pass a source on the channel axis.
    source = {"concat_latent_image": turn.source.unsqueeze(0)}
    first, second = (node_helpers.conditioning_set_values(prompt, source) for prompt in prompts)
    return first, second


def negative_or_unread(positive: list | None, negative: list | None, cfg: float) -> list | None:
    """The negative prompt.

    Cfg 1 does not read it, so there the positive prompt may replace a missing one.
    """
    return positive if negative is None and cfg == 1 else negative


def required_prompts(
    positive: list | None, negative: list | None, info: BaseInfo
) -> tuple[list, list]:
    """Both prompts of a run.

    Raises: ValueError naming the one that the model needs and lacks.
    """
    first = prompt_or_empty(positive, info, "positive")
    return first, prompt_or_empty(negative, info, "negative")


def prompt_or_empty(conditioning: list | None, info: BaseInfo, name: str = "positive") -> list:
    """The given CONDITIONING, or the empty prompt of a model that reads none.

    name: of the input that it came from.

    Raises: ValueError when the model needs a prompt.
    """
    if conditioning is not None:
        return conditioning
    if info.text_width is None:
        remedy = "" if name == "positive" else ", also with an empty text, or set cfg to 1"
        raise ValueError(
            f"{name} is not connected, but {info.model_name} reads prompts; connect CLIP Text "
            f"Encode to it{remedy}"
        )
    return [[torch.zeros(1, 1, info.text_width), {}]]


def empty_latent(turn: Turn, batch_size: int = 1) -> torch.Tensor:
    """Zeros (B, C, T, H, W) to sample this turn from."""
    # Where ComfyUI keeps latents between nodes.
    device = comfy.model_management.intermediate_device()
    return torch.zeros(batch_size, *turn.latent_shape, device=device)
