"""A small drawing surface over Pillow, and the colours that all explaining pictures share.

Pictures are float tensors (H, W, 3) in [0, 1]; points are pixels, x first.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

BACKGROUND: Colour = (24, 26, 31)
PANEL: Colour = (34, 37, 44)
GRID: Colour = (58, 62, 72)
TEXT: Colour = (226, 228, 233)
FAINT_TEXT: Colour = (150, 155, 166)
WHITE: Colour = (255, 255, 255)
QUERY: Colour = (255, 214, 74)
SOURCE: Colour = (150, 155, 166)
# Colours that colour-blind people can tell apart (Okabe and Ito). The brightest come first, since
# the background is dark.
SERIES: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 188, 140),
    (204, 121, 167),
    (240, 120, 60),
    (0, 130, 200),
)

# Pillow draws no smooth lines, so everything is drawn twice as large and then shrunk.
_OVERSAMPLING = 2


class Canvas:
    """A surface to draw on; `picture` returns the result.

    Line ends and text positions are given in final pixels.
    """

    def __init__(self, width: int, height: int, colour: Colour = BACKGROUND) -> None:
        self.size = (width, height)
        self._image = Image.new("RGB", (width * _OVERSAMPLING, height * _OVERSAMPLING), colour)
        self._draw = ImageDraw.Draw(self._image)

    def line(
        self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1.0
    ) -> None:
        scaled = [(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in points]
        self._draw.line(
            scaled, fill=colour, width=max(1, round(width * _OVERSAMPLING)), joint="curve"
        )

    def dot(self, point: tuple[float, float], radius: float, colour: Colour) -> None:
        x, y = point
        box = [(x - radius) * _OVERSAMPLING, (y - radius) * _OVERSAMPLING]
        self._draw.ellipse(
            [*box, (x + radius) * _OVERSAMPLING, (y + radius) * _OVERSAMPLING], fill=colour
        )

    def box(self, left: float, top: float, width: float, height: float, colour: Colour) -> None:
        corners = (left, top, left + width, top + height)
        self._draw.rectangle([value * _OVERSAMPLING for value in corners], fill=colour)

    def text(
        self, point: tuple[float, float], text: str, colour: Colour = TEXT, size: int = 13
    ) -> None:
        """Draw text whose upper left corner is `point`."""
        x, y = point
        self._draw.text(
            (x * _OVERSAMPLING, y * _OVERSAMPLING),
            text,
            fill=colour,
            font=font(size * _OVERSAMPLING),
        )

    def paste(self, picture: torch.Tensor, left: int, top: int, width: int, height: int) -> None:
        """Draw a picture (h, w, 3) in [0, 1] in the middle of a `width` x `height` box.

        It is scaled to fit; its aspect stays.
        """
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        values = (picture.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
        scaled = (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
        image = Image.fromarray(values.numpy()).resize(scaled, Image.Resampling.BICUBIC)
        corner = (left + (width - size[0]) // 2, top + (height - size[1]) // 2)
        self._image.paste(image, (corner[0] * _OVERSAMPLING, corner[1] * _OVERSAMPLING))

    def picture(self) -> torch.Tensor:
        """The drawing, (H, W, 3) float32 in [0, 1]."""
        shrunk = self._image.resize(self.size, Image.Resampling.BOX)
        return torch.from_numpy(np.array(shrunk)).float() / 255


def stack_pictures(
    pictures: Sequence[torch.Tensor], gap: int = 8, is_row: bool = False
) -> torch.Tensor:
    """Pictures (H, W, 3) one below the other, or side by side, on the background."""
    axis = 1 if is_row else 0
    across = max(picture.shape[1 - axis] for picture in pictures)
    total = sum(picture.shape[axis] for picture in pictures) + gap * (len(pictures) - 1)
    height, width = (across, total) if is_row else (total, across)
    sheet = (torch.tensor(BACKGROUND) / 255).expand(height, width, 3).clone()
    start = 0
    for picture in pictures:
        row, column = (0, start) if is_row else (start, 0)
        sheet[row : row + picture.shape[0], column : column + picture.shape[1]] = picture
        start += picture.shape[axis] + gap
    return sheet


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """The colour at `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at this size; before Pillow 10.1 it has one size alone."""
    try:
        return ImageFont.load_default(size_px)
    except TypeError:
        return ImageFont.load_default()
