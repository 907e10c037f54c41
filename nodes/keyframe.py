"""Segments of long videos that see no memory: their keyframe is edited first."""

from collections.abc import Callable
from dataclasses import replace

import torch

from ..memv2v_core.bases.base_info import BaseInfo
from ..memv2v_core.sampling.keyframe import keyframe_of, keyframe_plan
from ..memv2v_core.sampling.turn import Shot
from ..memv2v_core.tokens.budget import TokenPlan
from .conditioning import memories_of

Sample = Callable[[Shot], torch.Tensor]


def led_by_keyframe(
    shot: Shot, plan: TokenPlan | None, info: BaseInfo, sample: Sample
) -> TokenPlan | None:
    """`plan`; or where there is one that holds no memory, and the model has keyframes, one with the
    shot's keyframe.

    No plan at all asks for a segment by itself. sample: the finished latent (1, C, 1, H, W) of a
    shot of one frame, without memory.
    """
    if plan is None or memories_of(plan) or not info.has_keyframe:
        return plan
    source = shot.source_latent[:, keyframe_of(shot.source_latent.shape[1])]
    edited = sample(replace(shot, source_latent=source))
    return keyframe_plan(edited[0].cpu(), source.cpu(), info)
