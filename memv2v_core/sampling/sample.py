"""The one way to sample a turn: for nodes, for the loop of long videos, and for evaluation."""

from typing import Protocol

import torch

from .keyframe import keyframe_of, keyframe_plan, wants_keyframe
from .turn import Turn


class TurnSampler(Protocol):
    """Denoises a turn: ComfyUI's samplers behind the nodes, Euler's method outside ComfyUI."""

    def __call__(self, turn: Turn, shows_progress: bool = True) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn, in the VAE's unnormalised space.

        shows_progress: False for a preparing step, which is not one of the turn's own steps.
        """
        ...


def sample_turn(turn: Turn, sampler: TurnSampler, is_segment: bool = False) -> torch.Tensor:
    """The finished latent (C, T, H, W) of a turn, in the VAE's unnormalised space.

    is_segment: whether the turn edits a segment of a long video, which a keyframe may lead; see
    `keyframe`.
    """
    if is_segment and wants_keyframe(turn):
        # Sampled alone, with the prompt of the segment; the segment then sees it.
        keyframe = turn.of_frames(keyframe_of(turn.latent_shape[1]))
        edited = sampler(keyframe, shows_progress=False)
        turn = turn.seeing(keyframe_plan(keyframe, edited.cpu()))
    return sampler(turn)


def sample_without_memory(
    turn: Turn, sampler: TurnSampler, is_segment: bool = False
) -> torch.Tensor:
    """The latent (C, T, H, W) of the turn where the model sees none of its memories.

    With a sampler of the same noise, memory is the only difference from `sample_turn`: the turn of
    k = 0. is_segment: as there.
    """
    plan = None if turn.plan is None else turn.plan.without_memories()
    return sample_turn(turn.seeing(plan), sampler, is_segment)
