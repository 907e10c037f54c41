"""What a step draws of memory: how many memories, their kernels, and what is merged."""

from dataclasses import dataclass

import torch

from ...tokens.budget import KERNELS
from ...tokens.merging import MergeConfig
from ..config.data import MemoryDraws
from .rows import Rows, row_noise, row_uniform


@dataclass(frozen=True)
class MemoryStructure:
    """The memories of one step.

    kernels: one per memory. share: of the frames to merge; None merges nothing.
    has_source: False where memories must serve alone.
    """

    kernels: tuple[int, ...]
    share: float | None
    has_source: bool

    def merging(self, has_videos: bool = True) -> MergeConfig | None:
        """The merging of the step, where there is a video to merge."""
        return None if self.share is None or not has_videos else MergeConfig(self.share)


def draw_memories(config: MemoryDraws, generator: torch.Generator) -> MemoryStructure:
    """The memories of one step.

    Source: Sec. 4.1 and App. D.1, arXiv:2601.16296v2.
    """
    # Step 1: how many, and the kernel of each.
    count = int(torch.multinomial(torch.tensor(config.counts), 1, generator=generator))
    choice = torch.multinomial(
        torch.tensor(config.kernels), max(count, 1), replacement=True, generator=generator
    ).tolist()
    if chance(config.single_kernel_share, generator):
        choice = [choice[0]] * len(choice)
    # Step 2: merging, at a share from the range of the paper.
    share = None
    if chance(config.merge_probability, generator):
        low, high = config.merge_shares
        share = low + (high - low) * torch.rand((), generator=generator).item()
    # Step 3: some steps drop the source, so that memories must serve alone.
    has_source = not (chance(config.drop_source, generator) and count > 0)
    return MemoryStructure(tuple(KERNELS[c] for c in choice[:count]), share, has_source)


def chance(probability: float, generator: torch.Generator) -> bool:
    """True with this probability, 0 to 1."""
    return torch.rand((), generator=generator).item() < probability


def some_frames(count: int, num_frames: int, generator: torch.Generator) -> tuple[int, ...]:
    """`count` of the frames 0 to num_frames - 1 in order, or all of them."""
    if count >= num_frames:
        return tuple(range(num_frames))
    return tuple(sorted(torch.randperm(num_frames, generator=generator)[:count].tolist()))


def with_noise(
    latent: torch.Tensor, config: MemoryDraws, has_source: bool, rows: Rows
) -> torch.Tensor:
    """A memory's latent (B, C, T, H, W) with the noise of Eq. 15.

    Channels that carry nothing stay zero.

    Source: Eq. 15, App. D.1, arXiv:2601.16296v2: where source and memory are both present.
    """
    noise = row_noise(latent, rows)
    level = row_uniform(rows).to(latent).view(-1, 1, 1, 1, 1)
    if config.noise == 0 or (config.noise_beside_source and not has_source):
        return latent
    sigma = config.noise * (torch.ones_like(level) if config.has_fixed_noise else level)
    is_used = (latent != 0).flatten(2).any(2).any(0).view(1, -1, 1, 1, 1)
    return latent + sigma * noise * is_used
