"""Do later blocks also ignore a frame that one block ignores?

Keys before and after RoPE are compared.

Source: Table 1, arXiv:2601.16296v2. Our choice: keys of both kinds, since the paper does not say
which; the last turn with two memories, with the noise of the middle step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...model.block import TokenSequence
from ...model.memory_model import memory_forward, score_frames
from ...sampling.flow_match import NUM_TRAIN_TIMESTEPS, shifted_sigmas
from ...tokens.merging import MergeConfig, merge_blocks
from ..statistics import bottom_half_overlap, pearson, spearman
from .arms import Arms, DetailArms, SceneTurns, sweep_memories
from .scenes import FIRST, OPPOSITE, PROBE, SWEEP

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class BlockAgreement:
    """How well one merging block predicts the later blocks, for every scene (N,).

    Each number is a mean over the later blocks.

    rotated_keys: whether queries and keys were compared after RoPE. later: numbers of the later
    blocks.
    """

    rotated_keys: bool
    block: int
    later: tuple[int, ...]
    pearson: torch.Tensor
    spearman: torch.Tensor
    overlap: torch.Tensor


@dataclass(frozen=True, eq=False)
class FinishedSweep:
    """Turn 3 with both memories: latents (C, T, H, W) of either memory and of the turn."""

    first: torch.Tensor
    opposite: torch.Tensor
    sweep: torch.Tensor

    @classmethod
    def of(cls, arms: Arms, details: DetailArms) -> "FinishedSweep":
        return cls(arms.first, details.opposite, details.sweep_both)


def finished_sweep(turns: SceneTurns) -> FinishedSweep:
    """The three turns alone, without the other arms."""
    scene = turns.scene
    first = turns.sample(turns.turn(scene.first), turns.noise(FIRST))
    opposite = turns.sample(turns.turn(scene.opposite), turns.noise(OPPOSITE))
    memories = sweep_memories(turns, first, opposite)
    sweep = turns.sample(turns.turn(scene.sweep, memories), turns.noise(SWEEP))
    return FinishedSweep(first, opposite, sweep)


@torch.no_grad()
def responsiveness_by_block(
    turns: SceneTurns, finished: FinishedSweep, rotated_keys: bool
) -> torch.Tensor:
    """R_t of all source and memory frames in every block, (blocks, 1, frames).

    No frame is merged.
    """
    bundle, device = turns.bundle, turns.source.device
    memories = sweep_memories(turns, finished.first, finished.opposite)
    inputs = turns.turn(turns.scene.sweep, memories).inputs(lambda latent: latent.to(device))
    # Step 1: the finished turn under the noise of the middle step, as the sampler would see it.
    sigmas = shifted_sigmas(bundle.info.num_steps, bundle.info.shift)
    sigma = sigmas[len(sigmas) // 2].item()
    noise = turns.noise(PROBE).to(device)
    noisy = torch.lerp(finished.sweep.to(device), noise, sigma).unsqueeze(0)
    timestep = torch.full((1,), NUM_TRAIN_TIMESTEPS * sigma, device=device)
    context = bundle.empty_context(1).to(device)
    # Step 2: one forward pass; the probe scores the frames in every block.
    config = MergeConfig(rotated_keys=rotated_keys)
    scores: list[torch.Tensor] = []

    def probe(block_idx: int, attention_input: torch.Tensor, sequence: TokenSequence) -> None:
        found = score_frames(bundle.backbone, block_idx, attention_input, sequence, config)
        scores.append(found.cpu())

    memory_forward(bundle.backbone, bundle.adapter, noisy, timestep, context, inputs, probe=probe)
    return torch.stack(scores)


def block_agreements(
    scores: torch.Tensor, rotated_keys: bool, blocks: Sequence[int] | None = None
) -> tuple[BlockAgreement, ...]:
    """Agreement of each of some blocks with all later blocks.

    scores: (blocks, N, frames). blocks: None takes the merging blocks.
    """
    num_blocks = scores.shape[0]
    agreements = []
    for block in merge_blocks(num_blocks) if blocks is None else blocks:
        later = tuple(range(block + 1, num_blocks))

        # Defaults bind the values of this round of the loop.
        def mean_of(
            measure: Measure, block: int = block, later: tuple[int, ...] = later
        ) -> torch.Tensor:
            return torch.stack([measure(scores[block], scores[i]) for i in later]).mean(0)

        # The three columns of Table 1.
        values = (mean_of(pearson), mean_of(spearman), mean_of(bottom_half_overlap))
        agreements.append(BlockAgreement(rotated_keys, block, later, *values))
    return tuple(agreements)
