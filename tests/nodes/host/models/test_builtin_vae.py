"""The built-in codecs behind native VAE nodes."""

import copy

import numpy
import pytest
import torch

from memv2v_core.builtin.codec import Codec


@pytest.fixture(params=[16, 48])
def codec(request: pytest.FixtureRequest) -> Codec:
    """A random codec of as many channels as Wan2.1's latents, or Wan2.2's."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return Codec(request.param).eval().requires_grad_(False)


@pytest.fixture
def vae(comfy_api, codec: Codec):
    from memory_v2v.nodes.host.models.builtin_vae import BuiltinVAE

    return BuiltinVAE(copy.deepcopy(codec))


@pytest.fixture
def latent_format(comfy_api, codec: Codec):
    from memory_v2v.nodes.host.models.builtin_vae import builtin_format

    return builtin_format(codec)


def test_what_the_dit_sees_equals_codec_latents(
    comfy_api, codec: Codec, vae, latent_format
) -> None:
    frames = torch.rand(3, 64, 48, 3)
    (encoded,) = comfy_api.nodes.VAEEncode().encode(vae, frames)
    wanted = codec.encode(frames.movedim(-1, 0)[None] * 2 - 1)
    assert encoded["samples"].shape == (1, codec.ratios.channels, 3, 8, 6)
    assert (latent_format.process_in(encoded["samples"]) - wanted).abs().max() <= 1e-5
    assert (encoded["samples"] - wanted).abs().max() > 0.1


def test_decoding_equals_the_codec(comfy_api, codec: Codec, vae, latent_format) -> None:
    latent = torch.randn(1, codec.ratios.channels, 3, 8, 6) * 0.1
    unnormalised = latent_format.process_out(latent)
    with torch.inference_mode():
        (images,) = comfy_api.nodes.VAEDecode().decode(vae, {"samples": unnormalised})
        wanted = (codec.decode(latent)[0].movedim(0, -1) / 2 + 0.5).clamp(0, 1)
    assert images.shape == (3, 64, 48, 3)
    assert (images - wanted).abs().max() <= 1e-5


def test_encoding_in_tiles_equals_encoding_whole(comfy_api, codec: Codec, vae) -> None:
    frames = torch.rand(20, 128, 192, 3)
    (whole,) = comfy_api.nodes.VAEEncode().encode(vae, frames)
    (tiled,) = comfy_api.nodes.VAEEncodeTiled().encode(
        vae, frames, 64, 16, temporal_size=8, temporal_overlap=4
    )
    assert (
        tiled["samples"].shape == whole["samples"].shape == (1, codec.ratios.channels, 20, 16, 24)
    )
    assert (tiled["samples"] - whole["samples"]).abs().max() <= 1e-4


def test_decoding_in_tiles_has_the_same_frames(comfy_api, codec: Codec, vae) -> None:
    latent = {"samples": torch.randn(1, codec.ratios.channels, 20, 16, 24)}
    with torch.inference_mode():
        (whole,) = comfy_api.nodes.VAEDecode().decode(vae, latent)
        (tiled,) = comfy_api.nodes.VAEDecodeTiled().decode(
            vae, latent, 64, 32, temporal_size=8, temporal_overlap=4
        )
    assert tiled.shape == whole.shape == (20, 128, 192, 3)
    assert (tiled - whole).abs().mean() <= 0.01  # the decoder sees 6 pixels beyond a tile's border


def test_frames_that_8_does_not_divide_are_cropped_by_the_native_node(
    comfy_api, codec: Codec, vae
) -> None:
    (encoded,) = comfy_api.nodes.VAEEncode().encode(vae, torch.rand(2, 71, 66, 3))
    assert encoded["samples"].shape == (1, codec.ratios.channels, 2, 8, 8)


def test_previews_have_the_colours_of_the_codec(comfy_api, codec: Codec, latent_format) -> None:
    import latent_preview

    latent = torch.randn(1, codec.ratios.channels, 1, 4, 4) * 0.2
    previewer = latent_preview.Latent2RGBPreviewer(
        latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias
    )
    shown = torch.from_numpy(numpy.array(previewer.decode_latent_to_preview(latent)))
    pixels = torch.nn.functional.avg_pool2d(codec.synthesis(latent[:, :, 0]), 8)[0].movedim(0, -1)
    assert (shown - (pixels / 2 + 0.5).clamp(0, 1) * 255).abs().max() <= 1


def test_the_format_names_the_codecs_sizes(codec: Codec, latent_format) -> None:
    assert (latent_format.spacial_downscale_ratio, latent_format.temporal_downscale_ratio) == (8, 1)
    assert latent_format.latent_channels == codec.ratios.channels
    assert latent_format.taesd_decoder_name is None
