"""Official ReCamMaster's DiT of a user's checkout, with random weights.

Nothing of it is in this repository. Its forward is written for latents of 60 x 104.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .networks import TEXT_DIM, Base, materialise

SIZE = (60, 104)
_NAME = "official_recammaster"
_FILE = Path("diffsynth/models/wan_video_dit.py")


def use_checkout(folder: Path) -> None:
    """Load the module of the DiT alone: its package imports far more.

    Raises: ValueError for a folder that is no checkout.
    """
    if not (folder / _FILE).is_file():
        raise ValueError(
            f"--official got {folder}, which lacks {_FILE}; name a checkout of KwaiVGI/ReCamMaster"
        )
    package = ModuleType(_NAME)
    package.__path__ = [str((folder / _FILE).parent)]
    sys.modules[_NAME] = package
    importlib.import_module(f"{_NAME}.{_FILE.stem}")


@dataclass(frozen=True, eq=False)
class Official:
    """The DiT with the layers that ReCamMaster's inference script adds, and one call's inputs."""

    dit: Any
    inputs: tuple[torch.Tensor, ...]

    @classmethod
    def build(cls, base: Base, generator: torch.Generator, dtype: torch.dtype) -> "Official":
        """The sizes of `base`, target and source side by side in time, no memories."""
        module, shape = sys.modules[f"{_NAME}.{_FILE.stem}"], base.shape
        num_heads = shape.dim // shape.head_dim
        with torch.device("meta"):
            dit = module.WanModel(
                dim=shape.dim,
                in_dim=base.in_channels,
                ffn_dim=shape.ffn_dim,
                out_dim=base.out_channels,
                text_dim=TEXT_DIM,
                freq_dim=256,
                eps=1e-6,
                patch_size=(1, 2, 2),
                num_heads=num_heads,
                num_layers=shape.num_blocks,
                has_image_input=False,
            )
            for block in dit.blocks:
                block.cam_encoder = nn.Linear(12, shape.dim)
                block.projector = nn.Linear(shape.dim, shape.dim)
        # Its own rotations have no values on the meta device.
        dit.freqs = module.precompute_freqs_cis_3d(shape.head_dim)
        materialise(dit.to(dtype), generator)
        device, num_frames = generator.device, base.latent[0]

        def random(*size: int) -> torch.Tensor:
            return torch.randn(size, generator=generator, device=device).to(dtype)

        inputs = (
            random(1, base.in_channels, 2 * num_frames, *SIZE),
            torch.tensor([500.0], device=device, dtype=dtype),
            random(1, num_frames, 12),
            random(1, 512, TEXT_DIM),
        )
        return cls(dit, inputs)

    def run(self) -> torch.Tensor:
        """One forward."""
        return self.dit(*self.inputs)
