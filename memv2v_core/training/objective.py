"""The rectified-flow loss.

x_t = (1 - sigma) x0 + sigma noise and t = 1000 sigma. The network predicts noise - x0, as Wan and
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
# The weight of a token that shows the named object. About one token in ten does.
NAMED_WEIGHT = 4.0


def draw_sigmas(count: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Noise levels (count,): logit-normal, then shifted towards noise.

    The sampler's schedule has the same shift.
    """
    uniform = torch.sigmoid(torch.randn(count, generator=generator))
    return shift * uniform / (1 + (shift - 1) * uniform)


def draw_noise(latent: torch.Tensor, num_used: int, generator: torch.Generator) -> torch.Tensor:
    """Noise like `latent` (B, C, T, H, W), zero after the first `num_used` channels.

    Only those channels carry the video.
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
    """Mean squared velocity error of a batch.

    context: (B, Lt, text width). sigmas: (B,). noise: (B, C, T, H, W) like the target.
    A source on the channel axis is clean beside the noisy target. Weights of errors are relative to
    their mean.
    locator: a helper for training that reads from the target's tokens (B, L, D), two thirds down
    the DiT, where the named object is. Its mean cross-entropy is added to the loss. The trained
    model does not keep it.

    Source: Eq. 8, arXiv:2601.16296v2.
    """
    # Step 1: the noisy target, with the source beside it where the base takes it there.
    sigma = sigmas.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * example.target + sigma * noise
    given = noisy if example.source is None else torch.cat((noisy, example.source), dim=1)
    # Step 2: the velocity. The probe catches the target's tokens for the locator.
    seen: list[torch.Tensor] = []

    def watch(block_idx: int, _attention_input: torch.Tensor, sequence: TokenSequence) -> None:
        if block_idx == 2 * backbone.num_blocks // 3:
            seen.append(sequence.x[:, : sequence.layout.num_target_tokens])

    probe = None if locator is None else watch
    velocity = memory_forward(
        backbone, adapter, given, 1000 * sigmas, context, example.inputs, probe=probe
    )
    # Step 3: the error against noise - x0.
    error = (velocity - (noise - example.target)).square()  # (B, C, T, H, W)
    if example.weight is None:
        loss = error.mean()
    else:
        weight = example.weight.to(error).expand_as(error)
        loss = (weight * error).sum() / weight.sum()
    if locator is None or example.named is None:
        return loss
    # Step 4: the locator says for each token whether it shows the named object.
    rare = torch.tensor(NAMED_WEIGHT, device=loss.device)
    located = F.binary_cross_entropy_with_logits(
        locator(seen[0]).squeeze(-1), example.named, pos_weight=rare
    )
    return loss + LOCATE_WEIGHT * located
