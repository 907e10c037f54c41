"""Videos as one looping picture: side by side for a page that plays no video, or small for a card.

F frames, h rows, w columns.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from .contact_sheet import BACKGROUND, SheetRow, contact_sheet

_QUALITY = 70  # of WebP, 0 to 100
# A loop of this size takes 10 to 20 kB, and a card shows no more.
MAX_WIDTH_PX, MAX_FRAMES = 128, 24


def save_loop(
    panels: Sequence[SheetRow], path: Path, frame_rate: float, step: int = 1, scale: int = 2
) -> None:
    """Write an animated WebP that repeats for ever.

    Each video has one panel, with its label above.

    frame_rate: pictures per second. step: 2 shows every second frame of the videos.

    Raises: ValueError for no panels.
    """
    if not panels:
        raise ValueError("a loop got 0 panels, wanted at least 1; pass the videos to show")
    frames = range(0, min(len(panel.frames) for panel in panels), step)
    pictures = [_side_by_side(panels, frame, scale) for frame in frames]
    path.write_bytes(_encoded(pictures, frame_rate))


def animated_webp(frames: torch.Tensor, frame_rate: float) -> bytes:
    """The frames (F, h, w, 3) uint8 as a WebP that repeats for ever; one frame gives a still.

    frame_rate: pictures per second.

    Raises: ValueError for other shapes and types, and for no frames.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8 or not len(frames):
        raise ValueError(
            f"a loop got {frames.dtype} of shape {tuple(frames.shape)}, wanted uint8 (F, h, w, 3) "
            "with at least 1 frame; scale the pictures to 0..255 and convert them"
        )
    return _encoded([Image.fromarray(frame.cpu().numpy()) for frame in frames], frame_rate)


def small_frames(frames: torch.Tensor) -> torch.Tensor:
    """At most 24 of the frames (F, h, w, 3) uint8, spread evenly, at most 128 px wide."""
    count = min(len(frames), MAX_FRAMES)
    chosen = frames[[i * len(frames) // count for i in range(count)]]
    height, width = chosen.shape[1:3]
    if width <= MAX_WIDTH_PX:
        return chosen
    size = max(1, round(height * MAX_WIDTH_PX / width)), MAX_WIDTH_PX
    planes = chosen.movedim(-1, 1).float()
    resized = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)


def _encoded(pictures: Sequence[Image.Image], frame_rate: float) -> bytes:
    written = io.BytesIO()
    pictures[0].save(
        written,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / frame_rate),
        loop=0,
        quality=_QUALITY,
        method=2,
    )
    return written.getvalue()


def _side_by_side(panels: Sequence[SheetRow], frame: int, scale: int) -> Image.Image:
    strips = [contact_sheet([panel], (frame,), scale) for panel in panels]
    size = sum(strip.width for strip in strips), max(strip.height for strip in strips)
    picture, left = Image.new("RGB", size, BACKGROUND), 0
    for strip in strips:
        picture.paste(strip, (left, 0))
        left += strip.width
    return picture
