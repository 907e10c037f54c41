"""The keyframe of a segment that sees no memory: its middle frame is edited first, by itself, and
then is the memory of the whole segment.

What an instruction leaves open is decided in one frame, where a small editor decides clearly; of
many frames at once it may draw a mixture of two answers, which every later segment then repeats.
Our choice: the paper draws first segments like any other.
"""

import torch

from ..bases.base_info import BaseInfo
from ..cameras.trajectory import static_trajectory
from ..retrieval.selection import RankedEntry, Retrieval
from ..tokens.budget import TokenPlan, plan_tokens
from .turn import finished_entry


def keyframe_of(num_latent: int) -> slice:
    """Which of `num_latent` latent frames is the keyframe."""
    return slice(num_latent // 2, num_latent // 2 + 1)


def keyframe_plan(edited: torch.Tensor, source: torch.Tensor, base: BaseInfo) -> TokenPlan:
    """What the segment sees: its keyframe, in the place of the segment before, at 1x2x2 and never
    merged.

    edited, source: the keyframe after and before the edit, (C, 1, H, W) in the VAE's unnormalised
    space. It is of this one plan and comes into no cache.
    """
    entry = finished_entry(
        edited,
        static_trajectory(1, is_assumed=True),
        model_name=base.model_name,
        mode=base.mode,
        num_frames=1,
        turn=1,
        seed=0,
        source_latent=source,
    )
    return plan_tokens(
        Retrieval(None, (RankedEntry(entry, score=1.0, is_previous=True),)), unresponsive="keep"
    )
