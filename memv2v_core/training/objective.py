"""The rectified-flow loss.

x_t = (1 - sigma) x0 + sigma noise and t = 1000 sigma. The network predicts noise - x0, as Wan and
ReCamMaster do.
Departs from the paper: Eq. 8 prints the opposite sign.
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from ..model.adapter import MemoryAdapter
from ..model.backbone import Backbone
from ..model.memory_model import TokenSequence, memory_forward
from ..sampling.flow_match import NUM_TRAIN_TIMESTEPS, shifted
from .config.trained import OptimConfig, Sigmas
from .data.example import Example
from .data.rows import Rows, row_noise, row_normal, row_uniform

LOCATE_WEIGHT = 0.5
# The weight of a token that shows the named object. About one token in ten does.
NAMED_WEIGHT = 4.0


@dataclass(frozen=True, eq=False)
class Noising:
    """The noise of a batch.

    sigmas, weights: (B,), the level of each row and the weight of its error. noise: (B, C, T, H,
    W) like the target.
    """

    sigmas: torch.Tensor
    weights: torch.Tensor
    noise: torch.Tensor


def draw_noising(target: torch.Tensor, config: OptimConfig, rows: Rows) -> Noising:
    """The noise of a batch of targets (B, C, T, H, W); channels that carry nothing get none."""
    sigmas = draw_sigmas(config.sigmas, config.shift, rows)
    weights = torch.ones_like(sigmas)
    if config.weighting == "bell":
        weights = bell_weights(sigmas, config.shift)
    is_used = (target != 0).flatten(2).any(2).any(0).view(1, -1, 1, 1, 1)
    noise = row_noise(target, rows) * is_used
    return Noising(sigmas.to(target.device), weights.to(target.device), noise)


def draw_sigmas(kind: Sigmas, shift: float, rows: Rows) -> torch.Tensor:
    """Noise levels (B,), shifted towards noise as the sampler's schedule is.

    uniform: one of 1000 levels, as ReCamMaster's train_recammaster.py draws them. logit_normal: of
    a normal logit.
    """
    if kind == "logit_normal":
        even = torch.sigmoid(row_normal(rows))
    else:
        # Levels 1, 999/1000, ... 1/1000.
        even = 1 - torch.floor(row_uniform(rows) * NUM_TRAIN_TIMESTEPS) / NUM_TRAIN_TIMESTEPS
    return shifted(even, shift)


def bell_weights(sigmas: torch.Tensor, shift: float) -> torch.Tensor:
    """ReCamMaster's weights of noise levels, (B,): a bell around t = 500 with mean 1 over levels.

    Source: `training_weight` of the FlowMatchScheduler in KwaiVGI/ReCamMaster.
    """
    lowest, mean = _bell_of_levels(shift)
    return (_bell(sigmas) - lowest) / mean


@cache
def _bell_of_levels(shift: float) -> tuple[float, float]:
    """The lowest value of the bell over all levels, and the mean above it."""
    even = 1 - torch.arange(NUM_TRAIN_TIMESTEPS, dtype=torch.float64) / NUM_TRAIN_TIMESTEPS
    values = _bell(shifted(even, shift))
    lowest = values.min().item()
    return lowest, values.mean().item() - lowest


def _bell(sigmas: torch.Tensor) -> torch.Tensor:
    return torch.exp(-2 * (sigmas - 0.5) ** 2)


def flow_matching_loss(
    backbone: Backbone,
    adapter: MemoryAdapter,
    example: Example,
    context: torch.Tensor,
    noising: Noising,
    locator: nn.Module | None = None,
) -> torch.Tensor:
    """The weighted squared velocity error, averaged over each row and then over rows.

    context: (B, Lt, text width). A source on the channel axis is clean beside the noisy target.
    Weights of errors are relative to their mean in the row.
    locator: a helper for training that reads from the target's tokens (B, L, D), two thirds down
    the DiT, where the named object is. Its cross-entropy is added to the loss. The trained model
    does not keep it.

    Source: Eq. 8, arXiv:2601.16296v2, on the target alone.
    """
    # Step 1: the noisy target, with the source beside it where the base takes it there.
    sigma, noise = noising.sigmas.view(-1, 1, 1, 1, 1), noising.noise
    noisy = (1 - sigma) * example.target + sigma * noise
    given = noisy if example.source is None else torch.cat((noisy, example.source), dim=1)
    # Step 2: the velocity. The probe catches the target's tokens for the locator.
    seen: list[torch.Tensor] = []

    def watch(block_idx: int, _attention_input: torch.Tensor, sequence: TokenSequence) -> None:
        if block_idx == 2 * backbone.num_blocks // 3:
            seen.append(sequence.x[:, : sequence.layout.num_target_tokens])

    probe = None if locator is None else watch
    velocity = memory_forward(
        backbone,
        adapter,
        given,
        NUM_TRAIN_TIMESTEPS * noising.sigmas,
        context,
        example.inputs,
        probe=probe,
    )
    # Step 3: the error against noise - x0, in fp32.
    error = (velocity.float() - (noise - example.target)).square()  # (B, C, T, H, W)
    loss = (noising.weights * _row_means(error, example.weight)).mean()
    if locator is None or example.named is None:
        return loss
    # Step 4: the locator says for each token whether it shows the named object.
    rare = torch.tensor(NAMED_WEIGHT, device=loss.device)
    located = F.binary_cross_entropy_with_logits(
        locator(seen[0]).squeeze(-1).float(), example.named, pos_weight=rare
    )
    return loss + LOCATE_WEIGHT * located


def _row_means(error: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """The mean error (B,) of each row, weighted."""
    if weight is None:
        return error.flatten(1).mean(1)
    weight = weight.to(error).expand_as(error).flatten(1)
    return (weight * error.flatten(1)).sum(1) / weight.sum(1)
