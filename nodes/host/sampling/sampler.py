"""The one sampler behind every node: ComfyUI's own sampler, with memory attached to the model."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.sample
import comfy.utils
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.long_edit.settings import SamplerSettings
from ....memv2v_core.sampling.reuse import ReuseReport
from ....memv2v_core.sampling.turn import Turn
from .experts import Stage, stages_of
from .turns import conditionings, empty_latent, with_memory

# As ComfyUI's samplers call it: step, x0, x, number of steps.
Progress = Callable[[int, torch.Tensor, torch.Tensor, int], None]


@dataclass(frozen=True, eq=False)
class ComfySampler:
    """A `TurnSampler` that gives the same latents as Apply Memory with KSampler, to the last bit.

    settings: with the seed of this turn's noise.
    callback: shows progress; None shows previews and a progress bar of this turn.
    low_noise_model: the second of two experts, which see the same memory. The latents are then
    those of Apply Memory on each, and two nodes KSampler (Advanced) with the same seed.
    tell: gets the report about reused clean tokens; None writes it to the log.
    fast_attention: as in `with_memory`.
    """

    model: ModelPatcher
    positive: list | None
    negative: list | None
    settings: SamplerSettings
    callback: Progress | None = None
    low_noise_model: ModelPatcher | None = None
    tell: Callable[[ReuseReport], None] | None = None
    fast_attention: bool = True

    def __call__(self, turn: Turn, shows_progress: bool = True) -> torch.Tensor:
        """The finished latent (C, T, H, W) of a turn, in the VAE's unnormalised space.

        Raises: ValueError for two models that are no pair of experts.
        """
        settings, latent = self.settings, empty_latent(turn)
        callback = None
        if shows_progress:
            callback = self.callback or latent_preview.prepare_callback(self.model, settings.steps)
        noise = comfy.sample.prepare_noise(latent, settings.seed)
        for stage in stages_of(self.model, self.low_noise_model, settings):
            # The call of KSampler, so that both give the same latents.
            latent = comfy.sample.sample(
                with_memory(stage.model, turn, self.tell, self.fast_attention),
                noise,
                settings.steps,
                settings.cfg,
                settings.sampler_name,
                settings.scheduler,
                *conditionings(self.positive, self.negative, turn),
                latent,
                sigmas=stage.sigmas,
                callback=_counted(callback, stage, settings.steps),
                disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
                seed=settings.seed,
            )
            # The next expert goes on from a noisy latent.
            noise = torch.zeros_like(noise)
        (samples,) = latent
        return samples


def _counted(callback: Progress | None, stage: Stage, num_steps: int) -> Progress | None:
    """`callback` for one stage, which counts the steps of the whole run."""
    if callback is None or stage.sigmas is None:
        return callback

    def counted(step: int, x0: torch.Tensor, x: torch.Tensor, _total: int) -> None:
        callback(stage.first_step + step, x0, x, num_steps)

    return counted
