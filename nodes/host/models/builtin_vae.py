"""The built-in models' codec behind ComfyUI's native VAE socket."""

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import torch
from torch import nn

from ....memv2v_core.builtin.codec import Codec

# The smallest VAE that comfy.sd.VAE knows; it is replaced at once.
_PLACEHOLDER = {"pixel_space_vae": torch.tensor(1.0)}
# Wan's latent formats by their channels.
WHITENING = {16: comfy.latent_formats.Wan21, 48: comfy.latent_formats.Wan22}


def builtin_format(codec: Codec) -> comfy.latent_formats.LatentFormat:
    """Wan's latent format with the same number of channels and the codec's ratios and colours.

    Previews show the result of the codec's linear part.
    """
    latent_format = WHITENING[codec.ratios.channels]()
    latent_format.temporal_downscale_ratio = codec.ratios.temporal
    latent_format.spacial_downscale_ratio = codec.ratios.spatial
    latent_format.taesd_decoder_name = None
    bias = codec.synthesis.bias
    assert bias is not None
    # The mean of each patch is the colour of its latent; unused channels have none.
    factors = torch.zeros(codec.ratios.channels, 3)
    factors[: codec.used] = codec.synthesis.weight.mean((2, 3))
    latent_format.latent_rgb_factors = factors.tolist()
    latent_format.latent_rgb_factors_bias = bias.tolist()
    return latent_format


class _FirstStage(nn.Module):
    """The codec in the VAE's unnormalised space.

    A native Wan model whitens latents with fixed numbers. The codec's latents need no whitening, so
    it is undone here.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec
        self.format = WHITENING[codec.ratios.channels]()

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        return self.format.process_out(self.codec.encode(video))

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self.codec.decode(self.format.process_in(latent))


class BuiltinVAE(comfy.sd.VAE):
    """comfy.sd.VAE around a `Codec`.

    VAEEncode, VAEDecode and both tiled nodes work as with any video VAE.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__(sd=_PLACEHOLDER)
        time, space = codec.ratios.temporal, codec.ratios.spatial
        self.first_stage_model = _FirstStage(codec).eval()
        self.latent_channels, self.latent_dim, self.output_channels = codec.ratios.channels, 3, 3
        self.disable_offload = False
        # The frames of the codec are its latent frames, and sides shrink by `space`; tiled nodes
        # ask for these ratios.
        self.downscale_ratio = (lambda frames: (frames + time - 1) // time, space, space)
        self.upscale_ratio = (lambda frames: max(0, frames * time - time + 1), space, space)
        self.downscale_index_formula = self.upscale_index_formula = (time, space, space)
        self.working_dtypes = [torch.float32]
        self.vae_dtype = comfy.model_management.vae_dtype(self.device, self.working_dtypes)
        self.memory_used_encode = lambda shape, dtype: (
            300 * shape[2] * shape[3] * shape[4] * dtype.itemsize
        )
        self.memory_used_decode = lambda shape, dtype: (
            300 * shape[2] * shape[3] * shape[4] * space**2 * dtype.itemsize
        )
        offload_device = comfy.model_management.vae_offload_device()
        self.first_stage_model.to(self.vae_dtype)
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            self.first_stage_model, load_device=self.device, offload_device=offload_device
        )
