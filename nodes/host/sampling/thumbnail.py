"""Small pictures by which people recognise a turn, drawn without a VAE.

C channels, T latent frames, h rows, w columns.
"""

import latent_preview
import numpy
import torch
from comfy.latent_formats import LatentFormat
from comfy.model_patcher import ModelPatcher

from ....memv2v_core.pictures.loop import animated_webp, small_frames
from ....memv2v_core.sampling.entries import Thumbnail

# A latent frame stands for four frames of video, so a loop runs twice as fast as the video: a card
# is looked at for a moment.
_LOOP_RATE = 8.0


def preview_frames(latent_format: LatentFormat, latent: torch.Tensor) -> torch.Tensor | None:
    """Every latent frame as a picture: (T, h, w, 3) uint8 in the colours of ComfyUI's previews.

    latent: (C, T, h, w) as the DiT sees it, such as the x0 of a sampler's step; the latent of a
    finished turn goes through the model's `process_latent_in` first.
    None where a model has no such colours.
    """
    if latent_format.latent_rgb_factors is None:
        return None
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors,
        latent_format.latent_rgb_factors_bias,
        latent_format.latent_rgb_factors_reshape,
    )
    held = latent[None].float().cpu()
    # The previewer draws the first frame that it gets.
    pictures = [previewer.decode_latent_to_preview(held[:, :, t:]) for t in range(held.shape[2])]
    return torch.stack([torch.from_numpy(numpy.array(picture)) for picture in pictures])


def turn_frames(model: ModelPatcher, latent: torch.Tensor) -> torch.Tensor | None:
    """`preview_frames` of the latent (C, T, h, w) of a finished turn."""
    inside = model.model.process_latent_in(latent[None].float().cpu())
    return preview_frames(model.model.latent_format, inside[0])


def thumbnail(model: ModelPatcher, latent: torch.Tensor) -> Thumbnail | None:
    """The pictures of a finished turn's latent (C, T, h, w): its middle frame, and all in a loop.

    None where a model has no colours.
    """
    frames = turn_frames(model, latent)
    if frames is None:
        return None
    data = animated_webp(small_frames(frames), _LOOP_RATE)
    loop = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return Thumbnail(frames[len(frames) // 2].clone(), loop)
