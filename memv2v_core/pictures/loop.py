"""Videos as one looping picture: side by side, in rows, or small for a card.

F frames, h rows, w columns.
"""

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from .canvas import font
from .contact_sheet import (
    BACKGROUND,
    INK,
    LABEL_SIZE_PX,
    MARGIN_PX,
    SheetRow,
    contact_sheet,
    frame_picture,
)

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
    path.write_bytes(_encoded(pictures, round(1000 / frame_rate)))


def save_grid(
    rows: Sequence[Sequence[SheetRow | None]],
    path: Path,
    frame_rate: float,
    tile_px: int,
    held: Collection[int] = (),
    hold_s: float = 1.0,
) -> None:
    """Write an animated WebP of square videos in rows that repeats for ever.

    Every video stands in a tile of `tile_px` pixels a side with its label above; None leaves a
    place empty. All videos have the same length.

    frame_rate: pictures per second. held: frames that stay for `hold_s` seconds.

    Raises: ValueError for no videos.
    """
    panels = [panel for row in rows for panel in row if panel is not None]
    if not panels:
        raise ValueError("a loop got 0 videos, wanted at least 1; pass the videos to show")
    count = min(len(panel.frames) for panel in panels)
    pictures = [_in_rows(rows, frame, tile_px) for frame in range(count)]
    seconds = [hold_s if frame in held else 1 / frame_rate for frame in range(count)]
    path.write_bytes(_encoded(pictures, [round(1000 * each) for each in seconds]))


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
    pictures = [Image.fromarray(frame.cpu().numpy()) for frame in frames]
    return _encoded(pictures, round(1000 / frame_rate))


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


def _encoded(pictures: Sequence[Image.Image], durations_ms: int | list[int]) -> bytes:
    written = io.BytesIO()
    pictures[0].save(
        written,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations_ms,
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


def _in_rows(rows: Sequence[Sequence[SheetRow | None]], frame: int, tile_px: int) -> Image.Image:
    across, down = tile_px + MARGIN_PX, tile_px + LABEL_SIZE_PX + 2 * MARGIN_PX
    columns = max(len(row) for row in rows)
    size = MARGIN_PX + columns * across, len(rows) * down + MARGIN_PX
    picture = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for i, row in enumerate(rows):
        for column, panel in enumerate(row):
            if panel is None:
                continue
            left, top = MARGIN_PX + column * across, i * down + MARGIN_PX
            draw.text((left, top), panel.label, fill=INK, font=font(LABEL_SIZE_PX))
            tile = frame_picture(panel, frame).resize((tile_px, tile_px), Image.Resampling.BICUBIC)
            picture.paste(tile, (left, top + LABEL_SIZE_PX + MARGIN_PX))
    return picture
