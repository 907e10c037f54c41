"""Pictures of where two turns disagree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from .canvas import FAINT_TEXT, GRID, TEXT, Canvas, stack_pictures

# The mean absolute difference that gets the hottest colour.
FULL_SCALE = 0.4
_ANCHORS = (
    (0.05, 0.06, 0.22),
    (0.30, 0.10, 0.48),
    (0.73, 0.22, 0.33),
    (0.97, 0.55, 0.10),
    (0.99, 0.98, 0.70),
)
_BACKGROUND_SHARE = 0.25
_TILE_PX = 176
_TITLES = ("earlier turn", "warped to the later view", "later turn", "difference")


class Disagreement(Protocol):
    """The numbers of a comparison that are drawn.

    `evaluation.metrics.consistency` measures them.
    """

    @property
    def mae(self) -> float: ...
    @property
    def psnr(self) -> float: ...
    @property
    def num_pixels(self) -> int: ...
    @property
    def heat_map(self) -> torch.Tensor: ...
    @property
    def mask(self) -> torch.Tensor: ...
    @property
    def warped(self) -> torch.Tensor: ...


@dataclass(frozen=True, eq=False)
class ComparedPair:
    """Two turns (F, 3, H, W) in [0, 1], the name of the pair, and how the turns disagree."""

    name: str
    turn_a: torch.Tensor
    turn_b: torch.Tensor
    disagreement: Disagreement


def heat_colours(values: torch.Tensor) -> torch.Tensor:
    """Colours (..., 3) of values in [0, 1]: dark blue, purple, red, orange, pale yellow."""
    anchors = torch.tensor(_ANCHORS, dtype=values.dtype, device=values.device)
    position = values.clamp(0, 1) * (len(_ANCHORS) - 1)
    # Clamped, so that 1.0 also lies between two anchors.
    below = position.floor().clamp(max=len(_ANCHORS) - 2)
    idx = below.long()
    return torch.lerp(anchors[idx], anchors[idx + 1], (position - below)[..., None])


def heat_map_video(
    turn_b: torch.Tensor, disagreement: Disagreement, frames: slice = slice(None)
) -> torch.Tensor:
    """Frames (F, H, W, 3) of the later turn, dim and grey, with the differences in colour.

    Only the compared region has colours.
    """
    mask = disagreement.mask[frames, 0, :, :, None]
    # Dim, so that the colours of the region stand out.
    grey = turn_b[frames].mean(1)[..., None].expand(-1, -1, -1, 3) * _BACKGROUND_SHARE
    return torch.where(mask, heat_colours(disagreement.heat_map[frames, 0] / FULL_SCALE), grey)


def draw_pairs(pairs: Sequence[ComparedPair]) -> torch.Tensor:
    """One row per pair above a colour scale, (H, W, 3) in [0, 1].

    Each row shows the frame where the compared region is largest.
    """
    height, width = pairs[0].turn_b.shape[-2:]
    tile_height_px = max(1, round(_TILE_PX * height / width))
    return stack_pictures([*(_row(pair, tile_height_px) for pair in pairs), _colour_scale()], gap=6)


def _row(pair: ComparedPair, tile_height_px: int) -> torch.Tensor:
    result = pair.disagreement
    frame_idx = int(result.mask.flatten(1).sum(1).argmax())
    canvas = Canvas(4 * (_TILE_PX + 6) + 6, tile_height_px + 50)
    canvas.text((6, 5), f"{pair.name}, frame {frame_idx + 1}", TEXT, 15)
    canvas.text((236, 6), _measured(result), TEXT, 14)
    # Only the shown frame is drawn.
    heat = heat_map_video(pair.turn_b, result, slice(frame_idx, frame_idx + 1))[0]
    tiles = (pair.turn_a[frame_idx], result.warped[frame_idx], pair.turn_b[frame_idx])
    for i, tile in enumerate((*(tile.movedim(0, -1) for tile in tiles), heat)):
        left = 6 + i * (_TILE_PX + 6)
        canvas.text((left, 27), _TITLES[i], FAINT_TEXT, 12)
        canvas.box(left, 44, _TILE_PX, tile_height_px, GRID)
        canvas.paste(tile, left, 44, _TILE_PX, tile_height_px)
    return canvas.picture()


def _measured(result: Disagreement) -> str:
    """The numbers of a comparison, in words where there are none."""
    if result.num_pixels == 0:
        return "never look at the same place outside the source's view"
    share = f"{result.num_pixels / result.mask.numel():.0%} of the picture compared"
    if math.isinf(result.psnr):
        return f"equal in every compared pixel   {share}"
    return f"MAE {result.mae:.4f}   PSNR {result.psnr:.1f} dB   {share}"


def _colour_scale() -> torch.Tensor:
    canvas = Canvas(4 * (_TILE_PX + 6) + 6, 26)
    canvas.paste(heat_colours(torch.linspace(0, 1, 256)).expand(16, 256, 3), 6, 5, 256, 16)
    canvas.text(
        (272, 5),
        f"absolute difference, 0 to {FULL_SCALE:g} and above; grey: not compared",
        FAINT_TEXT,
        13,
    )
    return canvas.picture()


def draw_message(text: str) -> torch.Tensor:
    """A text in place of pairs, (H, W, 3) in [0, 1]."""
    canvas = Canvas(4 * (_TILE_PX + 6) + 6, 60)
    canvas.text((12, 20), text, TEXT, 14)
    return canvas.picture()
