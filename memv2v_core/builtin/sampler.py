"""Sampling of turns with a built-in model, outside ComfyUI."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from ..model.memory_inputs import MemoryInputs
from ..model.memory_model import memory_forward
from ..sampling.denoising import SamplerConfig, Strength, sample_latent
from ..sampling.fifo import sample_fifo
from ..sampling.flow_match import shifted_sigmas
from ..sampling.reuse import StreamReuse, stream_reuse
from ..sampling.turn import Turn
from .bundle import Bundle

# Noise (C, T, H, W) for a turn.
Draw = Callable[[Turn], torch.Tensor]
# The reuse of clean tokens in a turn with these inputs.
ChooseReuse = Callable[[Turn, MemoryInputs], StreamReuse | None]


def reuse_as_asked(turn: Turn, inputs: MemoryInputs) -> StreamReuse | None:
    """Reuse as the turn's plan asks for it, as in the nodes."""
    return stream_reuse(turn.reuse, inputs, turn.base.refresh_every)


@dataclass(frozen=True, eq=False)
class BundleSampler:
    """A `TurnSampler`: Euler's method with the model's steps and shift, without guidance.

    context: (1, L, D) of the prompt, or the model's empty prompt. draw: the noise of a turn.
    num_steps: None takes the model's. reuse: for measurements.
    Latents stay in the codec's space, which is also the DiT's space.
    """

    bundle: Bundle
    context: torch.Tensor
    draw: Draw
    num_steps: int | None = None
    reuse: ChooseReuse = reuse_as_asked

    def __call__(self, turn: Turn, shows_progress: bool = True) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn."""
        bundle, info = self.bundle, self.bundle.info
        device = self.context.device
        # An editor takes its clean source on the channel axis.
        beside = None
        if not turn.base.has_source_tokens:
            assert turn.source is not None, "a base that edits its source has one"
            beside = turn.source.unsqueeze(0).to(device)
        inputs = turn.inputs(lambda latent: latent.to(device))
        strength = None
        if turn.plan is not None and turn.plan.is_blended:
            alone = turn.seeing(turn.plan.without_memories())
            bare = alone.inputs(lambda latent: latent.to(device))
            strength = Strength(turn.plan.strength, bare)
        return sample_latent(
            bundle.backbone,
            bundle.adapter,
            inputs,
            self.context,
            self.draw(turn).unsqueeze(0).to(device),
            SamplerConfig(self.num_steps or info.num_steps, info.shift),
            beside,
            self.reuse(turn, inputs),
            strength,
        )[0]


@torch.no_grad()
def sample_video_by_fifo(
    bundle: Bundle, turn: Turn, context: torch.Tensor, noise: Iterator[torch.Tensor]
) -> torch.Tensor:
    """The finished latent (C, N, H, W) of a whole video by FIFO-Diffusion, without memory.

    The queue has as many noise levels as the model has steps.
    noise: gives (1, C, n, H, W) at a time: first the noise of the first window, then the noise that
    is mixed into its finished frames, then one frame after another.
    """
    assert turn.source is not None, "a base that edits its source has one"
    info, source = bundle.info, turn.source.unsqueeze(0).to(context.device)
    inputs = turn.inputs(lambda latent: latent.to(context.device))

    def velocity(x: torch.Tensor, timesteps: torch.Tensor, frames: tuple[int, ...]) -> torch.Tensor:
        # Each frame of the window sees its own source frame.
        given = torch.cat((x, source[:, :, list(frames)]), dim=1)
        return memory_forward(bundle.backbone, bundle.adapter, given, timesteps, context, inputs)

    def draw(count: int) -> torch.Tensor:
        drawn = next(noise).to(context.device)
        assert drawn.shape[2] == count, f"wanted noise of {count} frames, got {drawn.shape[2]}"
        return drawn

    sigmas = shifted_sigmas(info.num_steps, info.shift)
    frames = sample_fifo(velocity, draw, source.shape[2], info.num_frames, sigmas)
    return torch.cat(list(frames), dim=2)[0]
