"""The rectified-flow loss.

x_t = (1 - sigma) x0 + sigma noise, t = 1000 sigma, and the network predicts noise - x0 as Wan and
ReCamMaster do.
Departs from the paper: Eq. 8 prints the opposite sign.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..model.adapter import MemoryAdapter
from ..model.backbone import Backbone
from ..model.memory_model import TokenSequence, memory_forward
from .data.example import Example

LOCATE_WEIGHT = 0.5
NAMED_WEIGHT = 4.0  # of a token that shows what the prompt names; about one in ten does


def draw_sigmas(count: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Noise levels (count,): logit-normal, then shifted towards noise as the sampler's schedule
    is."""
    uniform = torch.sigmoid(torch.randn(count, generator=generator))
    return shift * uniform / (1 + (shift - 1) * uniform)


def draw_noise(latent: torch.Tensor, num_used: int, generator: torch.Generator) -> torch.Tensor:
    """Noise like `latent` (B, C, T, H, W), zero after the first `num_used` channels, which alone
    carry the video.
    """
    noise = torch.randn(latent.shape, generator=generator).to(latent)
    noise[:, num_used:] = 0
    return noise


def flow_matching_loss(
    backbone: Backbone,
    adapter: MemoryAdapter,
    example: Example,
    context: torch.Tensor,
    sigmas: torch.Tensor,
    noise: torch.Tensor,
    locator: nn.Module | None = None,
) -> torch.Tensor:
    """Mean squared velocity error of a batch. `context` (B, Lt, text width); `sigmas` (B,); `noise`
    like the target.

    A source on the channel axis is clean beside the noisy target. Weights are relative to their
    mean. A `locator` reads what the prompt names from the target's tokens (B, L, D) two thirds down
    the DiT, and its mean cross-entropy is added: an aid to training, of which the trained model
    keeps nothing.

    Source: Eq. 8, arXiv:2601.16296v2.
    """
    sigma = sigmas.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * example.target + sigma * noise
    given = noisy if example.source is None else torch.cat((noisy, example.source), dim=1)
    seen: list[torch.Tensor] = []

    def watch(block_idx: int, _attention_input: torch.Tensor, sequence: TokenSequence) -> None:
        if block_idx == 2 * backbone.num_blocks // 3:
            seen.append(sequence.x[:, : sequence.layout.num_target_tokens])

    probe = None if locator is None else watch
    velocity = memory_forward(
        backbone, adapter, given, 1000 * sigmas, context, example.inputs, probe=probe
    )
    error = (velocity - (noise - example.target)).square()
    if example.weight is None:
        loss = error.mean()
    else:
        weight = example.weight.to(error).expand_as(error)
        loss = (weight * error).sum() / weight.sum()
    if locator is None or example.named is None:
        return loss
    rare = torch.tensor(NAMED_WEIGHT, device=loss.device)
    located = F.binary_cross_entropy_with_logits(
        locator(seen[0]).squeeze(-1), example.named, pos_weight=rare
    )
    return loss + LOCATE_WEIGHT * located
