"""Memories that the model in training drew itself.

In a long video every memory is a result of the model, with its faults, never the true edit. A model
that has seen only true edits lets one hat become another from segment to segment. So it learns to
draw the true hat from the hats that it draws (our choice; the paper trains with true memories).

B rows, C channels, T frames, H rows and W columns of latents.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...bases.base_info import BaseInfo
from ...model.memory_inputs import MemoryInputs
from ...sampling.flow_match import sample_euler, shifted_sigmas
from ...sampling.inputs import CleanVideo, assemble_inputs
from ...vocabulary import Role
from .rows import Rows, row_noise

# From a noisy latent beside its source (B, 2 C, T, H, W), timesteps (B,) and prompts to the
# velocity (B, C, T, H, W).
Editor = Callable[[torch.Tensor, torch.Tensor, tuple[str, ...], MemoryInputs], torch.Tensor]
NUM_STEPS = 3
SHIFT = 3.0
# Without a memory to look at, the model starts from this noise level: the rest of the true edit
# says which edit is meant.
BLIND_SIGMA = 0.85
# Kernels of the true edit that the model looks at; None for no memory.
_SIGHTS = (2, 4, None)
NUM_SIGHTS = len(_SIGHTS)


@dataclass(frozen=True, eq=False)
class SegmentLatents:
    """Latents (B, C, T, H, W) of one segment, after and before the true edit.

    frames: which frames of the segment they are.
    """

    edited: torch.Tensor
    source: torch.Tensor
    frames: tuple[int, ...]


@torch.no_grad()
def draw_memory(
    editor: Editor,
    memory: SegmentLatents,
    shown: SegmentLatents,
    prompts: tuple[str, ...],
    num_frames: int,
    sight: int,
    rows: Rows,
    base: BaseInfo,
) -> torch.Tensor:
    """`memory` as the model edits it, (B, C, T, H, W).

    The model looks at the true edit of another segment, `shown`, or starts from the true edit of
    this segment under much noise.

    num_frames: of a whole segment. sight: number of what the model looks at, below NUM_SIGHTS.
    rows: a generator a row. base: the model in training. Channels that carry nothing get no noise.
    """
    is_used = (memory.source != 0).flatten(2).any(2).any(0).view(1, -1, 1, 1, 1)
    noise = row_noise(memory.edited, rows) * is_used
    kernel = _SIGHTS[sight]
    videos, first_sigma = [], BLIND_SIGMA
    # With a memory the model starts from pure noise, as in a real turn.
    if kernel is not None:
        role: Role = "previous" if kernel == 2 else "memory"
        videos = [CleanVideo(role, kernel, shown.edited, shown.source, frames=shown.frames)]
        first_sigma = 1.0
    inputs = assemble_inputs(base, num_frames, videos, target_frames=memory.frames)

    def velocity(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        return editor(torch.cat((x, memory.source), dim=1), timesteps, prompts, inputs)

    # Without one, some of the true edit is left under the noise.
    start = torch.lerp(memory.edited, noise, first_sigma)
    return sample_euler(velocity, start, first_sigma * shifted_sigmas(NUM_STEPS, SHIFT))
