"""Denoising outside ComfyUI: Euler's method over a `Backbone`."""

from dataclasses import dataclass

import torch

from ..model.adapter import MemoryAdapter
from ..model.backbone import Backbone
from ..model.kept_streams import KeptRows
from ..model.memory_inputs import MemoryInputs
from ..model.memory_model import CleanTokens, memory_forward, tokenize_clean
from .flow_match import sample_euler, shifted_sigmas
from .reuse import StreamReuse


@dataclass(frozen=True)
class SamplerConfig:
    """Euler steps and flow shift."""

    num_steps: int = 12
    shift: float = 3.0


@torch.no_grad()
def sample_latent(
    backbone: Backbone,
    adapter: MemoryAdapter,
    inputs: MemoryInputs,
    context: torch.Tensor,
    noise: torch.Tensor,
    config: SamplerConfig,
    beside: torch.Tensor | None = None,
    reuse: StreamReuse | None = None,
) -> torch.Tensor:
    """The finished latent (B, C, T, H, W), in the DiT's space, sampled from `noise` of that shape.

    beside: the source, shaped like `noise`, for a base that takes it on the target's channel axis.
    reuse: of clean tokens between steps; None refreshes them in every step.
    """

    def given(x: torch.Tensor) -> torch.Tensor:
        return x if beside is None else torch.cat((x, beside), dim=1)

    # Clean tokens depend neither on noise nor on the step, so they are made once.
    clean = tokenize_clean(backbone, adapter, inputs, given(noise).shape)

    def velocity(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        def forward(clean: CleanTokens, kept: KeptRows | None = None) -> torch.Tensor:
            return memory_forward(
                backbone, adapter, given(x), timestep, context, inputs, clean, kept
            )

        if reuse is None:
            return forward(clean)
        # All rows are refreshed together.
        return reuse.call(forward, clean, ("all rows",), timestep, num_bytes=0)

    sigmas = shifted_sigmas(config.num_steps, config.shift).to(noise.device)
    return sample_euler(velocity, noise, sigmas)
