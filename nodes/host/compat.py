"""Functions that older ComfyUIs lack.

0.16.3 is the oldest version that the pack runs on.
"""

from dataclasses import fields
from typing import Any

import comfy.latent_formats
from comfy_api.latest import Input, io

_WAN_TEMPORAL_RATIO = 4


def shows_result() -> dict[str, Any]:
    """Schema arguments of a node whose text stays on it when the page is loaded again.

    Empty where ComfyUI cannot do that.
    """
    # Asked of the class, not of a version number.
    name = "has_intermediate_output"
    return {name: True} if any(field.name == name for field in fields(io.Schema)) else {}


def temporal_ratio(latent_format: comfy.latent_formats.LatentFormat) -> int:
    """Pixel frames per latent frame of a Wan DiT. Older ComfyUIs know it only from the VAE."""
    return getattr(latent_format, "temporal_downscale_ratio", _WAN_TEMPORAL_RATIO)


def trim_window(video: Input.Video) -> tuple[float, float]:
    """Start and duration in seconds of the used part of a VIDEO file.

    A duration of 0 means everything after the start. Older ComfyUIs also trim but have no method
    that says so.
    """
    if hasattr(video, "get_active_trim_window"):
        return video.get_active_trim_window()
    # Private fields of the class, the only place of these numbers there.
    start, duration = (
        float(getattr(video, f"_VideoFromFile__{name}")) for name in ("start_time", "duration")
    )
    # A negative start counts from the end.
    if start < 0:
        raw = type(video)(video.get_stream_source()).get_duration()
        start = max(raw + start, 0.0)
    return start, duration
