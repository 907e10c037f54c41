"""Small pictures by which people recognise a turn."""

import latent_preview
import numpy
import torch
from comfy.model_patcher import ModelPatcher


def thumbnail(model: ModelPatcher, latent: torch.Tensor) -> torch.Tensor | None:
    """The middle latent frame of (C, T, h, w) as a picture (h, w, 3) uint8, without a VAE.

    It has the colours of the sampler's previews; None where a model has no such colours.
    """
    latent_format = model.model.latent_format
    if latent_format.latent_rgb_factors is None:
        return None
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
    # The previewer draws the first frame that it gets.
    middle = latent[None, :, latent.shape[1] // 2 :].float().cpu()
    preview = previewer.decode_latent_to_preview(model.model.process_latent_in(middle))
    return torch.from_numpy(numpy.array(preview))
