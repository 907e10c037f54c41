"""Wan's VAE and UMT5, through diffusers and transformers.

C channels, F frames, T latent frames, H rows, W columns.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ....shapes import VaeRatios
from .umt5 import Umt5
from .wan_vae import load_vae, read_vae_config, vae_ratios

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan


class WanEncoder:
    """vae: a folder of diffusers or a file for ComfyUI. text: None makes no text tokens.

    is_tiled: the VAE encodes in tiles.

    Raises: ValueError where a part is missing.
    """

    def __init__(
        self,
        vae: Path,
        text: Umt5 | None,
        dtype: torch.dtype,
        device: torch.device,
        is_tiled: bool = False,
    ) -> None:
        self._path, self._text = vae, text
        self._dtype, self._device, self._is_tiled = dtype, device, is_tiled
        self._ratios = vae_ratios(read_vae_config(vae))
        self._vae: AutoencoderKLWan | None = None

    @property
    def name(self) -> str:
        version = {16: "Wan2.1", 48: "Wan2.2"}.get(self._ratios.channels, "Wan")
        return f"{version} VAE, {self._text.name if self._text else 'no text'}"

    @property
    def ratios(self) -> VaeRatios:
        return self._ratios

    @property
    def text_width(self) -> int | None:
        return None if self._text is None else self._text.width

    def load_vae(self) -> None:
        self.free_text()
        self._load_vae()

    @torch.no_grad()
    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        vae = self._load_vae()
        video = (frames.transpose(0, 1)[None] * 2 - 1).to(self._device, self._dtype)
        # The mean of what the encoder gives, as the pipelines take it: nothing is drawn.
        latent = vae.encode(video).latent_dist.mode().float()
        mean, std = self._moments(vae)
        return ((latent - mean) * (1 / std))[0].cpu()

    @torch.no_grad()
    def decode_video(self, latent: torch.Tensor) -> torch.Tensor:
        vae = self._load_vae()
        mean, std = self._moments(vae)
        scaled = latent[None].to(self._device).float() * std + mean
        video = vae.decode(scaled.to(self._dtype), return_dict=False)[0]
        return (video[0].float() / 2 + 0.5).clamp(0, 1).transpose(0, 1).cpu()

    def encode_text(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        assert self._text is not None, "text_width is None: it makes no text tokens"
        return self._text.encode(prompts)

    def free_text(self) -> None:
        if self._text is not None:
            self._text.free()

    def _moments(self, vae: "AutoencoderKLWan") -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and deviation (1, C, 1, 1, 1) of the VAE's latents."""
        mean, std = (
            torch.tensor(values, device=self._device).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return mean, std

    def _load_vae(self) -> "AutoencoderKLWan":
        if self._vae is None:
            self._vae = load_vae(self._path, self._dtype).to(self._device)
            if self._is_tiled:
                self._vae.enable_tiling()
        return self._vae
