"""The rectified-flow loss.

x_t = (1 - sigma) x0 + sigma noise, t = 1000 sigma, and the network predicts noise - x0 as Wan and ReCamMaster do.
Departs from the paper: Eq. 8 prints the opposite sign.
"""

import torch

from ..model.adapter import MemoryAdapter
from ..model.backbone import Backbone
from ..model.memory_model import memory_forward
from .dataset import Example


def draw_sigmas(count: int, shift: float, generator: torch.Generator) -> torch.Tensor:
    """Noise levels (count,): logit-normal, then shifted towards noise as the sampler's schedule is."""
    uniform = torch.sigmoid(torch.randn(count, generator=generator))
    return shift * uniform / (1 + (shift - 1) * uniform)


def flow_matching_loss(
    backbone: Backbone,
    adapter: MemoryAdapter,
    example: Example,
    context: torch.Tensor,
    sigmas: torch.Tensor,
    noise: torch.Tensor,
) -> torch.Tensor:
    """Mean squared velocity error of a batch. `context` (B, Lt, text width); `sigmas` (B,); `noise` like the target.

    A source on the channel axis is clean beside the noisy target. Weights are relative to their mean.

    Source: Eq. 8, arXiv:2601.16296v2.
    """
    sigma = sigmas.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * example.target + sigma * noise
    given = noisy if example.source is None else torch.cat((noisy, example.source), dim=1)
    velocity = memory_forward(backbone, adapter, given, 1000 * sigmas, context, example.inputs)
    error = (velocity - (noise - example.target)).square()
    if example.weight is None:
        return error.mean()
    weight = example.weight.to(error).expand_as(error)
    return (weight * error).sum() / weight.sum()
