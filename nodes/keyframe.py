"""Segments of long videos that see no memory: their keyframe is edited first."""

from collections.abc import Callable
from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher

from ..memv2v_core.cache.memory_cache import MemoryCache
from ..memv2v_core.model.base_info import BaseInfo
from ..memv2v_core.sampling.keyframe import keyframe_of, keyframe_plan
from ..memv2v_core.sampling.turn import Shot
from ..memv2v_core.tokens.budget import TokenPlan
from .conditioning import memories_of
from .entries import turn_entry

Sample = Callable[[Shot], torch.Tensor]


def led_by_keyframe(
    model: ModelPatcher, shot: Shot, plan: TokenPlan | None, info: BaseInfo, seed: int, sample: Sample
) -> TokenPlan | None:
    """`plan`; or where there is one that holds no memory, and the model has keyframes, one with the shot's keyframe.

    No plan at all asks for a segment by itself. sample: the finished latent (1, C, 1, H, W) of a shot of one frame,
    without memory. The keyframe comes into no cache.
    """
    if plan is None or memories_of(plan) or not info.has_keyframe:
        return plan
    frames = keyframe_of(shot.source_latent.shape[1])
    keyframe = replace(shot, source_latent=shot.source_latent[:, frames])
    return keyframe_plan(turn_entry(sample(keyframe), model, keyframe, info, MemoryCache(), seed))
