"""Small pictures to recognise a turn by."""

import latent_preview
import numpy
import torch
from comfy.model_patcher import ModelPatcher


def thumbnail(model: ModelPatcher, latent: torch.Tensor) -> torch.Tensor | None:
    """The middle latent frame of (C, T, h, w) in the colours of the sampler's previews, (h, w, 3)
    uint8; None where a model has no such colours. It needs no VAE.
    """
    latent_format = model.model.latent_format
    if latent_format.latent_rgb_factors is None:
        return None
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
    middle = latent[None, :, latent.shape[1] // 2 :].float().cpu()
    preview = previewer.decode_latent_to_preview(model.model.process_latent_in(middle))
    return torch.from_numpy(numpy.array(preview))
