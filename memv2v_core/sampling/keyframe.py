"""The keyframe of a segment that sees no memory.

Its middle frame is edited first, alone, and is then the memory of the whole segment.

An instruction leaves some things open. For one frame a small editor decides them clearly. For many
frames at once it may draw a mixture of two answers, and every later segment then repeats the
mixture.
Our choice: the paper draws first segments like any other.
"""

import torch

from ..cache.memory_cache import MemoryCache
from ..retrieval.selection import RankedEntry, Retrieval
from ..tokens.budget import TokenPlan, plan_tokens
from .entries import finished_entry
from .turn import Turn


def keyframe_of(num_latent: int) -> slice:
    """The keyframe of `num_latent` latent frames, as a slice."""
    return slice(num_latent // 2, num_latent // 2 + 1)


def wants_keyframe(turn: Turn) -> bool:
    """Whether a keyframe leads a segment's turn.

    It does when the turn has a plan, the plan found no memory, and the base was trained with
    memories of single frames. A turn without a plan asks for a segment without memory, so it gets
    no keyframe.
    """
    return turn.plan is not None and not turn.memories and turn.base.has_keyframe


def keyframe_plan(keyframe: Turn, edited: torch.Tensor) -> TokenPlan:
    """The plan of the segment: its keyframe as the segment before, at 1x2x2, never merged.

    keyframe: the turn on this one frame. edited: (C, 1, H, W) in the VAE's unnormalised space.
    The entry belongs to this plan alone and enters no cache.
    """
    # The seed of an entry that is never stored does not matter.
    entry = finished_entry(keyframe, edited, MemoryCache(), seed=0)
    ranked = (RankedEntry(entry, score=1.0, is_previous=True),)
    return plan_tokens(Retrieval(None, ranked), unresponsive="keep")
