"""Videos side by side as one looping picture, for a page that plays no video."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .contact_sheet import BACKGROUND, SheetRow, contact_sheet

_QUALITY = 70  # of WebP, 0 to 100


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
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / frame_rate),
        loop=0,
        quality=_QUALITY,
        method=2,
    )


def _side_by_side(panels: Sequence[SheetRow], frame: int, scale: int) -> Image.Image:
    strips = [contact_sheet([panel], (frame,), scale) for panel in panels]
    size = sum(strip.width for strip in strips), max(strip.height for strip in strips)
    picture, left = Image.new("RGB", size, BACKGROUND), 0
    for strip in strips:
        picture.paste(strip, (left, 0))
        left += strip.width
    return picture
