"""What an encoder is to preparation and to training.

B batch, C channels, F frames, T latent frames, H rows, W columns, L tokens, D width.
"""

import os
from collections.abc import Sequence
from typing import Protocol

import torch

from ....shapes import VaeRatios


class Encoder(Protocol):
    """A VAE and a text encoder. Making one reads no weights: each is loaded at its first use."""

    @property
    def name(self) -> str:
        """What it is, for the record of an adapter."""
        ...

    @property
    def ratios(self) -> VaeRatios:
        """Sizes of its latents."""
        ...

    @property
    def text_width(self) -> int | None:
        """D of its text tokens; None where it makes none."""
        ...

    def load_vae(self) -> None:
        """Free the text encoder and load the VAE, where it is not loaded yet.

        Raises: ValueError for files that are broken.
        """
        ...

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """(C, T, H, W) float32 on the CPU of frames (F, 3, H, W) in [0, 1].

        The latent is in the DiT's normalised space.
        """
        ...

    def decode_video(self, latent: torch.Tensor) -> torch.Tensor:
        """Frames (F, 3, H, W) in [0, 1] on the CPU of a latent (C, T, H, W)."""
        ...

    def encode_text(self, prompts: Sequence[str]) -> list[torch.Tensor]:
        """Tokens (L, D) on the CPU of each prompt, the same whatever prompts stand beside it."""
        ...

    def free_text(self) -> None:
        """Free the memory of the text encoder."""
        ...


def device_of(name: str) -> torch.device:
    """The device that a configuration names; "auto" is the GPU of this process, or the CPU.

    Raises: ValueError for a name that is none.
    """
    if name == "auto":
        # `accelerate launch` gives each process of a machine a number, and so a GPU.
        rank = os.environ.get("LOCAL_RANK", "0")
        return torch.device(f"cuda:{rank}" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device got {name!r}, wanted auto, cpu, cuda or cuda:1") from error
