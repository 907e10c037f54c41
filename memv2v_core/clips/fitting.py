"""A clip brought to a model's size and length, and the edited result put back: one plan that serves
both ways.

F frames, C channels, H W rows and columns.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from ..shapes import padded_num_frames

Aspect = Literal["crop", "pad", "stretch", "keep"]
ASPECTS: tuple[Aspect, ...] = ("crop", "pad", "stretch", "keep")
GRID_PX = 16  # sides that "keep" chooses are multiples of this: 8 of the VAE times 2 of the patches
_FRAMES_AT_ONCE = 16  # so that a long clip is never held twice at its own size

Size = tuple[int, int]


@dataclass(frozen=True)
class FittingPlan:
    """How a clip was fitted. Sizes are (rows, columns).

    chosen: the source frame of each edited frame, in order; `num_frames` of them after the last one
    was held.
    scaled: the whole source at the scale of the fitted clip; centred on a frame of `size`, what
    sticks out is cropped and what is missing is black.
    """

    num_source: int
    source_size: Size
    chosen: tuple[int, ...]
    num_frames: int
    scaled: Size
    size: Size

    @property
    def content(self) -> Size:
        """Size of the part of a fitted frame that shows the source."""
        return min(self.scaled[0], self.size[0]), min(self.scaled[1], self.size[1])

    @property
    def kept_size(self) -> Size:
        """Size, in the source's own pixels, of what the fitted clip shows of it."""
        rows, columns = (
            round(source * content / scaled)
            for source, content, scaled in zip(
                self.source_size, self.content, self.scaled, strict=True
            )
        )
        return rows, columns

    @property
    def is_every_frame(self) -> bool:
        """Whether each source frame was chosen once."""
        return self.chosen == tuple(range(self.num_source))

    @property
    def enlargement(self) -> float:
        """How many times larger the source became, along the axis that grew most."""
        return max(
            scaled / source for scaled, source in zip(self.scaled, self.source_size, strict=True)
        )


def plan_fitting(
    num_source: int,
    source_size: Size,
    size: Size,
    num_frames: int | None,
    temporal_ratio: int,
    aspect: Aspect,
) -> FittingPlan:
    """How to bring a clip to a model. `num_frames` are picked evenly; None keeps every frame.

    aspect: of a source that is wider or taller than `size`: crop its margins, pad with black,
    stretch it, or keep it: the largest size of the source's own aspect with no more pixels than
    `size`, and never larger than the source.

    Raises: ValueError for a clip without frames and for an unknown aspect.
    """
    padded_source = padded_num_frames(num_source, temporal_ratio)
    if num_frames is None:
        chosen, padded = tuple(range(num_source)), padded_source
    else:
        picked = torch.linspace(0, num_source - 1, num_frames).round().long()
        chosen, padded = tuple(picked.tolist()), padded_num_frames(num_frames, temporal_ratio)
    if aspect == "keep":
        size = _size_of_same_aspect(source_size, size)
    return FittingPlan(
        num_source, source_size, chosen, padded, _scaled_size(source_size, size, aspect), size
    )


def fit_frames(frames: torch.Tensor, fitting: FittingPlan) -> torch.Tensor:
    """The fitted clip (num_frames, C, *size) of `frames` (F, C, H, W) in 0..1."""
    fitted = frames.new_zeros(fitting.num_frames, frames.shape[1], *fitting.size)
    top, left = _margins(fitting.size, fitting.content)
    cut_top, cut_left = _margins(fitting.scaled, fitting.content)
    rows, columns = fitting.content
    for start in range(0, len(fitting.chosen), _FRAMES_AT_ONCE):
        chosen = list(fitting.chosen[start : start + _FRAMES_AT_ONCE])
        scaled = _resize(frames[chosen], fitting.scaled, "bilinear")
        piece = scaled[..., cut_top : cut_top + rows, cut_left : cut_left + columns]
        fitted[start : start + len(chosen), :, top : top + rows, left : left + columns] = piece
    fitted[len(fitting.chosen) :] = fitted[len(fitting.chosen) - 1]
    return fitted


def restore_frames(
    edited: torch.Tensor, fitting: FittingPlan, every_frame: bool, original_size: bool
) -> torch.Tensor:
    """The edited clip (F, C, H, W) without the frames and bars that fitting added.

    every_frame: one frame for each of the source: edited frames are held until the next one is
    nearer.
    original_size: scaled to the source's own pixels. The edited clip may come enlarged, as from an
    upscaler.

    Raises: ValueError for another number of frames, or another aspect, than the fitted clip has.
    """
    edited = _require_frames(edited, fitting)
    content = _content_of(edited, fitting)
    if original_size:
        pieces = [
            _resize(piece, fitting.kept_size, "bicubic") for piece in content.split(_FRAMES_AT_ONCE)
        ]
        content = torch.cat(pieces)
    if every_frame and not fitting.is_every_frame:
        content = content[list(nearest_edited(fitting))]
    return content


def nearest_edited(fitting: FittingPlan) -> tuple[int, ...]:
    """For each source frame, the edited frame nearest in time; the earlier of two that are equally
    near."""
    chosen = torch.tensor(fitting.chosen)
    distances = (chosen[None, :] - torch.arange(fitting.num_source)[:, None]).abs()
    return tuple(distances.argmin(dim=1).tolist())


def describe_fitting(fitting: FittingPlan, aspect: Aspect, temporal_ratio: int) -> str:
    """What was done to a clip, in words."""
    rows, columns = fitting.source_size
    height, width = fitting.size
    picked = "all kept" if fitting.is_every_frame else f"{len(fitting.chosen)} picked evenly"
    scale_y, scale_x = fitting.scaled[0] / rows, fitting.scaled[1] / columns
    scale = f"{max(scale_y, scale_x) if aspect == 'crop' else min(scale_y, scale_x):.3f}"
    how = {
        "crop": f"scaled by {scale} and cropped to {width}x{height}",
        "pad": f"scaled by {scale} and padded with black to {width}x{height}",
        "stretch": (
            f"stretched to {width}x{height}, {scale_x / scale_y:.3f} times wider than it was"
        ),
        "keep": f"scaled to {width}x{height}, {scale_x / scale_y:.3f} times wider than it was",
    }[aspect]
    text = f"{fitting.num_source} frames of {columns}x{rows}: {picked}, {how}"
    if fitting.enlargement > 1:
        text += (
            f"; enlarged {fitting.enlargement:.2f} times, which adds no detail: a smaller size "
            "would keep it all"
        )
    repeated = len(fitting.chosen) - len(set(fitting.chosen))
    if repeated:
        text += f"; {repeated} of the picked frames are repeats, as the clip is shorter"
    held = fitting.num_frames - len(fitting.chosen)
    if held:
        text += (
            f"; the last frame is held {held} times more, as the VAE needs {temporal_ratio} n "
            "+ 1 frames"
        )
    return text


def _scaled_size(source: Size, size: Size, aspect: Aspect) -> Size:
    rows, columns = source
    height, width = size
    if aspect in ("stretch", "keep"):
        return size
    if aspect == "crop":
        scale = max(height / rows, width / columns)
        return max(height, round(rows * scale)), max(width, round(columns * scale))
    if aspect == "pad":
        scale = min(height / rows, width / columns)
        return _even(rows * scale, height), _even(columns * scale, width)
    raise ValueError(f"aspect got {aspect!r}, wanted one of {', '.join(ASPECTS)}")


def _even(length: float, limit: int) -> int:
    """The nearest even number, at least 2: bars are equally wide, and video files can hold what
    they leave."""
    return min(limit, max(2, 2 * round(length / 2)))


def _size_of_same_aspect(source: Size, size: Size) -> Size:
    rows, columns = source
    num_px = size[0] * size[1]
    scale = min(1.0, math.sqrt(num_px / (rows * columns)))
    width = max(1, int(columns * scale / GRID_PX)) * GRID_PX
    height = min(max(1, round(width * rows / columns / GRID_PX)), max(1, rows // GRID_PX)) * GRID_PX
    while height * width > num_px and height > GRID_PX:
        height -= GRID_PX
    return height, width


def _margins(outer: Size, inner: Size) -> Size:
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def _resize(images: torch.Tensor, size: Size, mode: str) -> torch.Tensor:
    """Images (F, C, H, W) in 0..1 at `size`; the very same where they have it already."""
    if images.shape[-2:] == size:
        return images.clamp(0, 1)
    resized = torch.nn.functional.interpolate(
        images, size, mode=mode, antialias=True, align_corners=False
    )
    return resized.clamp_(0, 1)


def _require_frames(edited: torch.Tensor, fitting: FittingPlan) -> torch.Tensor:
    """The edited frames without those that padding added; a clip that was cut already passes as it
    is."""
    if edited.shape[0] not in (fitting.num_frames, len(fitting.chosen)):
        raise ValueError(
            f"frames got {edited.shape[0]}, wanted the {fitting.num_frames} of the fitted clip (or "
            f"the {len(fitting.chosen)} before padding); connect the decoded result made from this "
            "Fit Video's frames"
        )
    return edited[: len(fitting.chosen)]


def _content_of(edited: torch.Tensor, fitting: FittingPlan) -> torch.Tensor:
    rows, columns = edited.shape[-2:]
    height, width = fitting.size
    if rows * width != columns * height:
        raise ValueError(
            f"frames got {columns}x{rows}, wanted {width}x{height} or an enlargement of the same "
            "aspect; connect the decoded result made from this Fit Video's frames"
        )
    top, left = _margins(fitting.size, fitting.content)
    edges_y = [round(edge * rows / height) for edge in (top, top + fitting.content[0])]
    edges_x = [round(edge * columns / width) for edge in (left, left + fitting.content[1])]
    return edited[..., edges_y[0] : edges_y[1], edges_x[0] : edges_x[1]]
