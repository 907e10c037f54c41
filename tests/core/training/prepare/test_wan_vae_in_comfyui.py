"""Our latents against those that ComfyUI's own VAEs and latent formats give, from the same file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from memv2v_core.training.prepare.config import EncoderConfig
from memv2v_core.training.prepare.encoders.registry import encoder_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("version", ["Wan2.1", "Wan2.2"])
@torch.no_grad()
def test_latents_and_frames_are_those_of_comfyui(
    version: str, comfy_api: object, tmp_path: Path
) -> None:
    from comfy import latent_formats
    from comfy.ldm.wan import vae, vae2_2

    sizes = {
        "dim": 8,
        "dim_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_scales": [],
        "temperal_downsample": [False, True, True],
        "dropout": 0.0,
    }
    if version == "Wan2.1":
        model, latent_format = vae.WanVAE(z_dim=16, **sizes), latent_formats.Wan21()
    else:
        model, latent_format = vae2_2.WanVAE(z_dim=48, dec_dim=8, **sizes), latent_formats.Wan22()
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, tensor in model.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        is_matrix = name.endswith("weight")
        state[name] = (
            noise / tensor[0].numel() ** 0.5
            if is_matrix
            else 0.1 * noise + (1.0 if name.endswith("gamma") else 0.0)
        )
    model.load_state_dict(state)
    model.eval()
    path = tmp_path / "vae.safetensors"
    save_file(state, path)
    encoder = encoder_of(EncoderConfig("wan", vae=path, has_text=False, device="cpu"))
    assert encoder.name == f"{version} VAE, no text"

    frames = torch.rand(9, 3, 32, 64, generator=generator)
    wanted = latent_format.process_in(model.encode(frames.transpose(0, 1)[None] * 2 - 1))
    torch.testing.assert_close(encoder.encode_video(frames), wanted[0], rtol=0, atol=1e-4)
    decoded = model.decode(latent_format.process_out(wanted))[0].transpose(0, 1)
    torch.testing.assert_close(
        encoder.decode_video(wanted[0]), (decoded / 2 + 0.5).clamp(0, 1), rtol=0, atol=1e-4
    )
