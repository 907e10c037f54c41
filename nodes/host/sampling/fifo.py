"""FIFO-Diffusion's diagonal denoising of a whole video, as one run of a sampler.

The MODEL has LucyEdit's form. ComfyUI sees a run over one window: it loads the model, applies its
patches and prompts, and guides as always. The source of the window and the noise level of each
frame change from call to call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.conds
import comfy.model_management
import comfy.samplers
import latent_preview
import node_helpers
import torch
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.sampling.fifo import num_fifo_calls, sample_fifo
from ....memv2v_core.sampling.flow_match import NUM_TRAIN_TIMESTEPS
from ..models.attachment import base_info

Progress = Callable[[int, torch.Tensor, torch.Tensor, int], None]


def sample_fifo_video(
    model: ModelPatcher,
    positive: list,
    negative: list,
    source_latent: torch.Tensor,
    window: int,
    steps: int,
    cfg: float,
    seed: int,
    scheduler: str = "simple",
    callback: Progress | None = None,
) -> torch.Tensor:
    """The edited video's latent (C, N, H, W), on the CPU, in the VAE's space like `source_latent`.

    window: latent frames that the model sees at once.
    steps: noise levels, which is the length of the queue; a multiple of the window makes whole
    partitions.
    callback: called once per call of the model, like the callback of ComfyUI's samplers; None shows
    previews and the progress bar.

    Raises: ValueError for a model that does not take its source on the channel axis.
    """
    info = base_info(model)
    if info.has_source_tokens:
        raise ValueError(
            f"model got {info.model_name}, wanted one that takes its source beside the target's "
            "channels, such as LucyEdit: FIFO gives every frame a noise level of its own; choose "
            "another mode for this model"
        )
    video = source_latent.unsqueeze(0)
    window = min(window, video.shape[2])
    # ComfyUI prepares the prompts with the first window; `FifoSampler` replaces it in every call.
    first = {"concat_latent_image": video[:, :, :window]}
    prompts = (
        node_helpers.conditioning_set_values(prompt, first) for prompt in (positive, negative)
    )
    # The run that ComfyUI sees: one window of latents.
    shape = (1, *video.shape[1:2], window, *video.shape[3:])
    sigmas = comfy.samplers.calculate_sigmas(
        model.get_model_object("model_sampling"), scheduler, steps
    )
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*prompts)
    guider.set_cfg(cfg)
    num_calls = num_fifo_calls(video.shape[2], window, steps)
    callback = callback or latent_preview.prepare_callback(model, num_calls)
    blank = torch.zeros(shape, device=comfy.model_management.intermediate_device())
    # Blank noise and latent: `FifoSampler` draws its own.
    (edited,) = guider.sample(
        blank, blank, FifoSampler(video, num_calls), sigmas, callback=callback, seed=seed
    ).cpu()
    return edited


@dataclass(eq=False)
class FifoSampler(comfy.samplers.Sampler):
    """Returns the whole edited video, not the one window that it is called with.

    source: (1, C, N, H, W) of the video, in the VAE's space.
    """

    source: torch.Tensor
    num_calls: int

    def sample(
        self,
        model_wrap: comfy.samplers.CFGGuider,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Progress,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """The video (1, C, N, H, W) in the DiT's space. Of `noise` only shape and device count."""
        # Noise depends on the seed alone, never on the device.
        generator = torch.Generator().manual_seed(extra_args["seed"])
        one = noise.new_ones(1)
        calls_done = 0

        def velocity(
            x: torch.Tensor, timesteps: torch.Tensor, frames: tuple[int, ...]
        ) -> torch.Tensor:
            nonlocal calls_done
            comfy.model_management.throw_exception_if_processing_interrupted()
            self._show(model_wrap, frames, timesteps)
            # The model returns x minus sigma times the velocity. At sigma 1 the difference to x is
            # therefore the guided velocity, whatever the noise levels of the frames.
            predicted = x - model_wrap(x, one, **extra_args)
            finished = x - (timesteps / NUM_TRAIN_TIMESTEPS).view(1, 1, -1, 1, 1) * predicted
            # The preview shows the frames of this window as if they were finished now.
            callback(calls_done, finished, x, self.num_calls)
            calls_done += 1
            return predicted

        def draw(count: int) -> torch.Tensor:
            channels, (height, width) = noise.shape[1], noise.shape[3:]
            return torch.randn(1, channels, count, height, width, generator=generator).to(noise)

        frames = sample_fifo(velocity, draw, self.source.shape[2], noise.shape[2], sigmas)
        return torch.cat([frame.cpu() for frame in frames], dim=2)

    def _show(
        self, guider: comfy.samplers.CFGGuider, frames: tuple[int, ...], timesteps: torch.Tensor
    ) -> None:
        """Put the source and the noise level of `frames` into every prompt of a run."""
        source = self.source[:, :, list(frames)].to(timesteps)
        # Wan2.2 averages a mask to one timestep per frame.
        levels = (timesteps / NUM_TRAIN_TIMESTEPS).view(1, 1, -1, 1, 1)
        changed = {
            "c_concat": comfy.conds.CONDNoiseShape(guider.inner_model.process_latent_in(source)),
            "denoise_mask": comfy.conds.CONDRegular(levels.expand(-1, -1, -1, *source.shape[3:])),
        }
        for prompts in guider.conds.values():
            for prompt in prompts:
                prompt["model_conds"] = {**prompt["model_conds"], **changed}
