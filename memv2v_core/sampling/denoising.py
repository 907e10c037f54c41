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


@dataclass(frozen=True, eq=False)
class Strength:
    """How strongly memory acts: v = v_bare + value (v_memory - v_bare), in every step.

    Our choice, after guidance by a prompt; see `TokenPlan.strength`.

    bare: the same turn without memories.
    """

    value: float
    bare: MemoryInputs


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
    strength: Strength | None = None,
) -> torch.Tensor:
    """The finished latent (B, C, T, H, W), in the DiT's space, sampled from `noise` of that shape.

    beside: the source, shaped like `noise`, for a base that takes it on the target's channel axis.
    reuse: of clean tokens between steps; None refreshes them in every step.
    strength: of memory; None is 1.
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

    def blended(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        assert strength is not None, "without it there is nothing to blend"
        alone = memory_forward(backbone, adapter, given(x), timestep, context, strength.bare, bare)
        return torch.lerp(alone, velocity(x, timestep), strength.value)

    sigmas = shifted_sigmas(config.num_steps, config.shift).to(noise.device)
    if strength is None:
        return sample_euler(velocity, noise, sigmas)
    bare = tokenize_clean(backbone, adapter, strength.bare, given(noise).shape)
    return sample_euler(blended, noise, sigmas)
