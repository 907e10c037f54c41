"""A clip brought to a model's size and length, and the edited result put back.

One plan serves both ways. F frames, C channels, H rows, W columns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import torch

from ..shapes import padded_num_frames

Aspect = Literal["crop", "pad", "stretch", "keep"]
ASPECTS: tuple[Aspect, ...] = ("crop", "pad", "stretch", "keep")
# "keep" chooses sides that are multiples of this: 8 (VAE) times 2 (patches).
GRID_PX = 16
# In pieces, so that a long clip is never held twice at its own size.
_FRAMES_AT_ONCE = 16
# Bytes of a restored clip that are worth a word.
_MUCH_MEMORY = 4e9

Size = tuple[int, int]


@dataclass(frozen=True)
class FittingPlan:
    """How a clip was fitted. Sizes are (rows, columns).

    num_source, source_size: frames and size of the source.
    chosen: the source frame of each edited frame, in order.
    num_frames: frames of the fitted clip, after the last chosen frame is held for padding.
    scaled: size of the whole source at the scale of the fitted clip. It is centred on a frame of
    `size`: parts outside are cropped, missing parts are black.
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
        """Size of the shown part of the source, in the source's pixels."""
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
    def restored_bytes(self) -> int:
        """Memory of the restored clip as float32, with every frame at the source's size."""
        rows, columns = self.kept_size
        return self.num_source * rows * columns * 3 * 4

    @property
    def enlargement(self) -> float:
        """How many times larger the source becomes, along the axis that grows most."""
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
    """How to bring a clip to a model.

    num_frames: how many source frames are picked, evenly; None keeps every frame.
    aspect: what happens when the source has another aspect than `size`. "crop" cuts its margins,
    "pad" adds black bars, "stretch" distorts it. "keep" changes `size` to the largest size of the
    source's aspect that has no more pixels than `size`; it is never larger than the source.

    Raises: ValueError for a clip without frames and for an unknown aspect.
    """
    padded_source = padded_num_frames(num_source, temporal_ratio)
    if num_frames is None:
        chosen, padded = tuple(range(num_source)), padded_source
    else:
        # Evenly, with the first and the last frame. A clip that is too short repeats frames.
        picked = torch.linspace(0, num_source - 1, num_frames).round().long()
        chosen, padded = tuple(picked.tolist()), padded_num_frames(num_frames, temporal_ratio)
    if aspect == "keep":
        size = _size_of_same_aspect(source_size, size)
    return FittingPlan(
        num_source, source_size, chosen, padded, _scaled_size(source_size, size, aspect), size
    )


def fit_frames(frames: torch.Tensor, fitting: FittingPlan) -> torch.Tensor:
    """The fitted clip (num_frames, C, *size) of `frames` (F, C, H, W) in 0..1."""
    return fit_chunks(frames.split(_FRAMES_AT_ONCE), range(len(frames)), fitting)


def fit_chunks(
    chunks: Iterable[torch.Tensor], indices: Sequence[int], fitting: FittingPlan
) -> torch.Tensor:
    """The fitted clip (num_frames, C, *size) of a clip that comes a few frames at a time.

    chunks: frames (F, 3, H, W) in 0..1, in order. indices: which frame of the source each one is;
    frames that are not chosen may be missing.
    """
    fitted = torch.zeros(fitting.num_frames, 3, *fitting.size)
    # Margins of the content in the fitted frame ("pad"), and of the content in the scaled source
    # ("crop"). At least one pair is zero on each axis.
    top, left = _margins(fitting.size, fitting.content)
    cut_top, cut_left = _margins(fitting.scaled, fitting.content)
    rows, columns = fitting.content
    start = num_read = 0
    for chunk in chunks:
        places = {indices[num_read + i]: i for i in range(len(chunk))}
        num_read += len(chunk)
        # A short clip repeats frames.
        chosen = list(takewhile(places.__contains__, fitting.chosen[start:]))
        if not chosen:
            continue
        source = chunk[[places[idx] for idx in chosen]]
        scaled = _resize(source, fitting.scaled, "bilinear")  # (n, 3, *scaled)
        piece = scaled[..., cut_top : cut_top + rows, cut_left : cut_left + columns]
        fitted[start : start + len(chosen), :, top : top + rows, left : left + columns] = piece
        start += len(chosen)
    # The VAE takes ratio * n + 1 frames: the last frame is held until the count fits.
    fitted[len(fitting.chosen) :] = fitted[len(fitting.chosen) - 1]
    return fitted


def restore_frames(
    edited: torch.Tensor, fitting: FittingPlan, every_frame: bool, original_size: bool
) -> torch.Tensor:
    """The edited clip (F, C, H, W) without the frames and bars that fitting added.

    every_frame: one frame for each source frame; each edited frame is held until the next one is
    nearer.
    original_size: scale to the source's pixels. The edited clip may be larger than fitted, for
    example after an upscaler.

    Raises: ValueError for another number of frames, or another aspect, than the fitted clip has.
    """
    edited = _require_frames(edited, fitting)
    content = _content_of(edited, fitting)
    if original_size:
        # In pieces: a long clip at its original size may be large.
        pieces = [
            _resize(piece, fitting.kept_size, "bicubic") for piece in content.split(_FRAMES_AT_ONCE)
        ]
        content = torch.cat(pieces)
    # Repeated last, so that each edited frame is resized once.
    if every_frame and not fitting.is_every_frame:
        content = content[list(nearest_edited(fitting))]
    return content


def nearest_edited(fitting: FittingPlan) -> tuple[int, ...]:
    """For each source frame, the edited frame nearest in time.

    Of two equally near frames it is the earlier one.
    """
    chosen = torch.tensor(fitting.chosen)
    # Distances in frames, (source frames, edited frames).
    distances = (chosen[None, :] - torch.arange(fitting.num_source)[:, None]).abs()
    return tuple(distances.argmin(dim=1).tolist())


def describe_fitting(fitting: FittingPlan, aspect: Aspect, temporal_ratio: int) -> str:
    """How a clip was fitted, in words."""
    rows, columns = fitting.source_size
    height, width = fitting.size
    picked = "all kept" if fitting.is_every_frame else f"{len(fitting.chosen)} picked evenly"
    scale_y, scale_x = fitting.scaled[0] / rows, fitting.scaled[1] / columns
    # "crop" fills the frame, so the larger scale counts; "pad" fits inside, so the smaller one.
    scale = f"{max(scale_y, scale_x) if aspect == 'crop' else min(scale_y, scale_x):.3f}"
    if fitting.source_size == fitting.scaled == fitting.size:
        how = "at its own size"
    elif aspect == "crop":
        how = f"scaled by {scale} and cropped to {width}x{height}"
    elif aspect == "pad":
        how = f"scaled by {scale} and padded with black to {width}x{height}"
    else:
        verb = "stretched" if aspect == "stretch" else "scaled"
        wider = f"{scale_x / scale_y:.3f}"
        how = f"{verb} to {width}x{height}"
        how += f", {wider} times wider than it was" if wider != "1.000" else ""
    text = f"{fitting.num_source} frames of {columns}x{rows}: {picked}, {how}"
    if fitting.enlargement > 1:
        text += (
            f"; enlarged {fitting.enlargement:.2f} times, which adds no detail: a smaller size "
            "would keep it all"
        )
    if fitting.restored_bytes > _MUCH_MEMORY and not fitting.is_every_frame:
        text += (
            f"; Restore Video needs {fitting.restored_bytes / 1e9:.0f} GB of memory for every "
            "frame at the original size: 'edited frames' or the size 'model' need less"
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
        # The source covers the frame; rounding must not leave a gap.
        scale = max(height / rows, width / columns)
        return max(height, round(rows * scale)), max(width, round(columns * scale))
    if aspect == "pad":
        # The source fits into the frame.
        scale = min(height / rows, width / columns)
        return _even(rows * scale, height), _even(columns * scale, width)
    raise ValueError(f"aspect got {aspect!r}, wanted one of {', '.join(ASPECTS)}")


def _even(length: float, limit: int) -> int:
    """The nearest even number, at least 2.

    Then both bars are equally wide, and video files can hold the rest.
    """
    return min(limit, max(2, 2 * round(length / 2)))


def _size_of_same_aspect(source: Size, size: Size) -> Size:
    rows, columns = source
    num_px = size[0] * size[1]
    # Shrink to the pixel budget, never enlarge; then round both sides to the grid.
    scale = min(1.0, math.sqrt(num_px / (rows * columns)))
    width = max(1, int(columns * scale / GRID_PX)) * GRID_PX
    height = min(max(1, round(width * rows / columns / GRID_PX)), max(1, rows // GRID_PX)) * GRID_PX
    # Rounding the height up may break the pixel budget.
    while height * width > num_px and height > GRID_PX:
        height -= GRID_PX
    return height, width


def _margins(outer: Size, inner: Size) -> Size:
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def _resize(images: torch.Tensor, size: Size, mode: str) -> torch.Tensor:
    """Images (F, C, H, W) in 0..1 at `size`; unchanged where they already have this size."""
    if images.shape[-2:] == size:
        return images.clamp(0, 1)
    resized = torch.nn.functional.interpolate(
        images, size, mode=mode, antialias=True, align_corners=False
    )
    return resized.clamp_(0, 1)


def _require_frames(edited: torch.Tensor, fitting: FittingPlan) -> torch.Tensor:
    """The edited frames without the frames that padding added.

    A clip that already has no padding passes unchanged.
    """
    # An upscaler may have removed the padding, so both counts are right.
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
    # The edited clip may be an enlargement, so the edges are scaled with it.
    top, left = _margins(fitting.size, fitting.content)
    edges_y = [round(edge * rows / height) for edge in (top, top + fitting.content[0])]
    edges_x = [round(edge * columns / width) for edge in (left, left + fitting.content[1])]
    return edited[..., edges_y[0] : edges_y[1], edges_x[0] : edges_x[1]]
