"""Labelled rows of frames as one picture.

    python -m memv2v_core.pictures.contact_sheet OUT.png < spec.json

where the spec is {"frames": [numbers], "rows": [[label, [picture files]], ...]}.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw

from .canvas import font

MARGIN_PX = 6
LABEL_SIZE_PX = 15
BACKGROUND, INK = (24, 24, 24), (235, 235, 235)


@dataclass(frozen=True, eq=False)
class SheetRow:
    """A label and a video (F, 3, H, W) in [0, 1]; all rows of a sheet have the same frame size.

    mask: pixels (F, 1, H, W) shown in full; others are dimmed. None shows all.
    """

    label: str
    frames: torch.Tensor
    mask: torch.Tensor | None = None


def contact_sheet(
    rows: Sequence[SheetRow], frame_indices: Sequence[int], scale: int = 1
) -> Image.Image:
    """One row of pictures for every video: frames `frame_indices` from left to right.

    The label stands above its row.

    Raises: ValueError for no rows.
    """
    if not rows:
        raise ValueError("a contact sheet got 0 rows, wanted at least 1; pass the videos to show")
    height, width = (side * scale for side in rows[0].frames.shape[-2:])
    label_px = LABEL_SIZE_PX + 2 * MARGIN_PX
    columns = len(frame_indices)
    size = (MARGIN_PX + columns * (width + MARGIN_PX), len(rows) * (height + label_px) + MARGIN_PX)
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    label_font = font(LABEL_SIZE_PX)
    for i, row in enumerate(rows):
        top = i * (height + label_px)
        draw.text((MARGIN_PX, top + MARGIN_PX), row.label, fill=INK, font=label_font)
        for column, frame_idx in enumerate(frame_indices):
            # Nearest neighbour: enlarged pixels stay sharp.
            tile = frame_picture(row, frame_idx)
            picture = tile.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (MARGIN_PX + column * (width + MARGIN_PX), top + label_px))
    return sheet


def frame_picture(row: SheetRow, frame_idx: int) -> Image.Image:
    """One frame of a row, its masked pixels dimmed."""
    frame = row.frames[frame_idx].float().clamp(0, 1)
    if row.mask is not None:
        # Masked pixels stay visible, at a quarter of their light.
        frame = torch.where(row.mask[frame_idx], frame, 0.25 * frame)
    return Image.fromarray((frame * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def main() -> None:
    """Draw the sheet that standard input describes."""
    spec = json.load(sys.stdin)
    rows = [SheetRow(label, read_frames(paths)) for label, paths in spec["rows"]]
    num_frames = min(len(row.frames) for row in rows)
    contact_sheet(rows, [idx for idx in spec["frames"] if idx < num_frames]).save(sys.argv[1])


def read_frames(paths: Sequence[str]) -> torch.Tensor:
    """The video (F, 3, H, W) in [0, 1] whose frames are these picture files."""
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


if __name__ == "__main__":
    main()
