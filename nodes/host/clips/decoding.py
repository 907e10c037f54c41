"""Latents of the cache as pictures."""

import torch
from comfy.sd import VAE


def decode_latent(vae: VAE, latent: torch.Tensor) -> torch.Tensor:
    """Frames (F, 3, H, W) in [0, 1], on the CPU, of a latent (C, T, h, w)."""
    images = vae.decode(latent.unsqueeze(0).float())
    return images.reshape(-1, *images.shape[-3:]).movedim(-1, 1).float().cpu()


def last_frame(vae: VAE, latent: torch.Tensor) -> torch.Tensor:
    """Picture (H, W, 3) of a latent's last latent frame alone: for viewing, not for measuring."""
    return decode_latent(vae, latent[:, -1:])[-1].movedim(0, -1)
