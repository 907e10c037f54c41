"""What older ComfyUIs lack; 0.16.3 is the oldest that the pack runs on."""

from dataclasses import fields
from typing import Any

import comfy.latent_formats
from comfy_api.latest import io

_WAN_TEMPORAL_RATIO = 4


def shows_result() -> dict[str, Any]:
    """Schema arguments of a node whose text stays on it when the page is loaded anew, where ComfyUI can do that."""
    name = "has_intermediate_output"
    return {name: True} if any(field.name == name for field in fields(io.Schema)) else {}


def temporal_ratio(latent_format: comfy.latent_formats.LatentFormat) -> int:
    """Pixel frames a latent frame of a Wan DiT; older ComfyUIs leave it to the VAE."""
    return getattr(latent_format, "temporal_downscale_ratio", _WAN_TEMPORAL_RATIO)
