"""What older ComfyUIs lack; 0.16.3 is the oldest that the pack runs on."""

from dataclasses import fields
from typing import Any

import comfy.latent_formats
from comfy_api.latest import Input, io

_WAN_TEMPORAL_RATIO = 4


def shows_result() -> dict[str, Any]:
    """Schema arguments of a node whose text stays on it when the page is loaded anew, where ComfyUI
    can do that.
    """
    name = "has_intermediate_output"
    return {name: True} if any(field.name == name for field in fields(io.Schema)) else {}


def temporal_ratio(latent_format: comfy.latent_formats.LatentFormat) -> int:
    """Pixel frames a latent frame of a Wan DiT; older ComfyUIs leave it to the VAE."""
    return getattr(latent_format, "temporal_downscale_ratio", _WAN_TEMPORAL_RATIO)


def trim_window(video: Input.Video) -> tuple[float, float]:
    """Start and duration in seconds of the part of a file that a VIDEO stands for, 0 for all that
    follows.

    Older ComfyUIs trim as well and have no method that says so.
    """
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    start, duration = (
        float(getattr(video, f"_VideoFromFile__{name}")) for name in ("start_time", "duration")
    )
    if start < 0:  # counted from the end
        raw = type(video)(video.get_stream_source()).get_duration()
        start = max(raw + start, 0.0)
    return start, duration
