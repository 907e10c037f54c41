"""Small random files for a real server: DiTs of every layout for the built-in text, and a VAE."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from instruments.tiny_wan import (
    pilot_weights,
    recammaster_weights,
    vace_weights,
    wan_weights,
)

# The text encoder of the published bases is too large for a test. A built-in model's stands in,
# and the DiTs read its width.
TEXT_DIM = 64
WIDTH_OF_TEXT = {"config": json.dumps({"transformer": {"text_dim": TEXT_DIM}})}
VAE_FILE = "wan_2.1_vae.safetensors"
DA3_FILE = "depth_anything_3_base.safetensors"

Weights = dict[str, torch.Tensor]


def for_short_text(weights: Weights) -> Weights:
    """The same DiT for text of the built-in model's width."""
    return {
        **weights,
        "text_embedding.0.weight": weights["text_embedding.0.weight"][:, :TEXT_DIM].contiguous(),
    }


def vae_weights() -> Weights:
    """A small VAE of Wan2.1. It needs a ComfyUI that can be imported."""
    from comfy.ldm.wan.vae import WanVAE

    shape = {"dim": 8, "z_dim": 16, "temperal_downsample": [False, True, True]}
    return _random_like(WanVAE(**shape).state_dict())


def save(folder: Path, files: dict[str, Weights]) -> None:
    """Writes files under a models folder, by their paths in it.

    A server lists new files without a restart.
    """
    for name, state in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, path, metadata=WIDTH_OF_TEXT)


def files_of_layouts() -> dict[str, Weights]:
    """A file of every layout that the pack reads, by their paths in a models folder."""
    bases = {
        "wan2.1_bernini_1.3B": wan_weights(seed=10),
        "wan2.2_bernini_r_high_noise": wan_weights(seed=11),
        "wan2.2_bernini_r_low_noise": wan_weights(seed=12),
        "wan": wan_weights(),
        "recammaster": recammaster_weights(),
        "spacetimepilot": pilot_weights(),
        "lucyedit": wan_weights(96, 48),
        "vace": vace_weights(),
    }
    files = {
        f"diffusion_models/{name}.safetensors": for_short_text(weights)
        for name, weights in bases.items()
    }
    for name in ("recammaster", "spacetimepilot"):
        files[f"memv2v/{name}.safetensors"] = files[f"diffusion_models/{name}.safetensors"]
    return files | {f"vae/{VAE_FILE}": vae_weights()}


def _random_like(state: Weights) -> Weights:
    """Weights of these shapes that keep numbers near one: gains of 1, the rest by fan-in."""
    generator = torch.Generator().manual_seed(4)
    noise = {name: torch.randn(value.shape, generator=generator) for name, value in state.items()}
    return {
        name: torch.ones_like(value)
        if name.endswith("gamma")
        else value / max(value[0].numel(), 1) ** 0.5
        for name, value in noise.items()
    }
