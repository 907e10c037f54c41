"""Is a frame that one block ignores ignored by the later blocks too? Keys before and after RoPE
compared.

Source: Table 1, arXiv:2601.16296v2. Our choice: keys of either kind, since the paper does not say
which; the last turn with two memories, its noise at the middle of the sampler's steps.
"""

from dataclasses import dataclass

import torch

from ...model.memory_model import Sequence, memory_forward, score_frames
from ...sampling.flow_match import NUM_TRAIN_TIMESTEPS, shifted_sigmas
from ...tokens.merging import MergeConfig, merge_blocks
from ..statistics import bottom_half_overlap, pearson, spearman
from .arms import Arms, Batch, DetailArms, sweep_memories
from .held_out import PROBE


@dataclass(frozen=True, eq=False)
class BlockAgreement:
    """How well one merging block foretells the later ones, for every scene (N,): mean over later
    blocks.

    rotated_keys: whether queries and keys were compared after RoPE. later: numbers of the later
    blocks.
    """

    rotated_keys: bool
    block: int
    later: tuple[int, ...]
    pearson: torch.Tensor
    spearman: torch.Tensor
    overlap: torch.Tensor


@torch.no_grad()
def responsiveness_by_block(
    batch: Batch, arms: Arms, details: DetailArms, rotated_keys: bool
) -> torch.Tensor:
    """R_t of all source and memory frames in every block, (blocks, B, frames), with no frame
    merged.
    """
    backbone, scenes = batch.bundle.backbone, batch.scenes
    memories = sweep_memories(batch, arms.first, details.opposite)
    inputs = batch.inputs([scene.sweep.path for scene in scenes], memories)
    sigmas = shifted_sigmas(batch.bundle.info.num_steps, batch.bundle.info.shift)
    sigma = sigmas[len(sigmas) // 2].item()
    noisy = (1 - sigma) * details.sweep_both + sigma * batch.noise(PROBE)
    timestep = torch.full((len(scenes),), NUM_TRAIN_TIMESTEPS * sigma, device=noisy.device)
    context = batch.bundle.empty_context(len(scenes)).to(noisy.device)
    config = MergeConfig(rotated_keys=rotated_keys)
    scores: list[torch.Tensor] = []

    def probe(block_idx: int, attention_input: torch.Tensor, sequence: Sequence) -> None:
        scores.append(score_frames(backbone, block_idx, attention_input, sequence, config).cpu())

    memory_forward(backbone, batch.bundle.adapter, noisy, timestep, context, inputs, probe=probe)
    return torch.stack(scores)


def block_agreements(scores: torch.Tensor, rotated_keys: bool) -> tuple[BlockAgreement, ...]:
    """Agreement of each merging block with all later blocks; scores (blocks, N, frames)."""
    num_blocks = scores.shape[0]
    agreements = []
    for block in merge_blocks(num_blocks):
        later = tuple(range(block + 1, num_blocks))

        def mean_of(measure, block: int = block, later: tuple[int, ...] = later) -> torch.Tensor:
            return torch.stack([measure(scores[block], scores[i]) for i in later]).mean(0)

        values = (mean_of(pearson), mean_of(spearman), mean_of(bottom_half_overlap))
        agreements.append(BlockAgreement(rotated_keys, block, later, *values))
    return tuple(agreements)
