"""The keyframe of a segment that sees no memory: its middle frame is edited first, by itself, and then is the memory
of the whole segment.

What an instruction leaves open is decided in one frame, where a small editor decides clearly; of many frames at once it
may draw a mixture of two answers, which every later segment then repeats. Our choice: the paper draws first segments
like any other.
"""

from ..cache.entry import MemoryEntry
from ..retrieval.selection import RankedEntry, Retrieval
from ..tokens.budget import TokenPlan, plan_tokens


def keyframe_of(num_latent: int) -> slice:
    """Which of `num_latent` latent frames is the keyframe."""
    return slice(num_latent // 2, num_latent // 2 + 1)


def keyframe_plan(edited: MemoryEntry) -> TokenPlan:
    """What the segment sees: its edited keyframe, in the place of the segment before, at 1x2x2 and never merged."""
    return plan_tokens(Retrieval(None, (RankedEntry(edited, score=1.0, is_previous=True),)), unresponsive="keep")
