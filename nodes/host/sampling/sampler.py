"""The one sampler behind every node: ComfyUI's own sampler, with memory attached to the model."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.sample
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.long_edit.settings import SamplerSettings
from ....memv2v_core.sampling.turn import Turn
from .turns import conditionings, empty_latent, with_memory

# As ComfyUI's samplers call it: step, x0, x, number of steps.
Progress = Callable[[int, torch.Tensor, torch.Tensor, int], None]


@dataclass(frozen=True, eq=False)
class ComfySampler:
    """A `TurnSampler` that gives the same latents as Apply Memory with KSampler, to the last bit.

    settings: with the seed of this turn's noise.
    callback: shows progress; None shows previews and a progress bar of this turn.
    """

    model: ModelPatcher
    positive: list | None
    negative: list | None
    settings: SamplerSettings
    callback: Progress | None = None

    def __call__(self, turn: Turn, shows_progress: bool = True) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn, in the VAE's unnormalised space."""
        settings, latent = self.settings, empty_latent(turn)
        callback = None
        if shows_progress:
            callback = self.callback or latent_preview.prepare_callback(self.model, settings.steps)
        # The call of KSampler, so that both give the same latents.
        (samples,) = comfy.sample.sample(
            with_memory(self.model, turn),
            comfy.sample.prepare_noise(latent, settings.seed),
            settings.steps,
            settings.cfg,
            settings.sampler_name,
            settings.scheduler,
            *conditionings(self.positive, self.negative, turn),
            latent,
            callback=callback,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=settings.seed,
        )
        return samples
