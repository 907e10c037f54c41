"""Pictures of workflows at the size of a template card: what a run made, or the graph."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (640, 360)
_CANVAS, _GAP = (20, 20, 20), 4
_MOST_ROWS = 3


def made_videos(outputs: Mapping[str, Any], folder: Path) -> list[Path]:
    """The videos that a run saved, in the order of their nodes.

    outputs: of the run, by the id of the node. folder: ComfyUI's output folder.
    """
    return [
        folder / file["subfolder"] / file["filename"]
        for _, shown in sorted(outputs.items(), key=lambda item: int(item[0]))
        for file in shown.get("images", ())
        if file["type"] == "output" and file["filename"].endswith(".mp4")
    ]


def filmstrips(videos: Sequence[Path]) -> Image.Image:
    """One row a video, at most three, with as many frames side by side as have room.

    One video alone has two rows.
    """
    rows = [_frames(path) for path in videos[:_MOST_ROWS]]
    if len(rows) == 1:
        middle = len(rows[0]) // 2
        rows = [rows[0][:middle], rows[0][middle:]]
    height = (SIZE[1] - _GAP * (len(rows) + 1)) // len(rows)
    width = round(height * rows[0][0].width / rows[0][0].height)
    columns = max((SIZE[0] - _GAP) // (width + _GAP), 1)
    sheet = Image.new("RGB", SIZE, _CANVAS)
    left = (SIZE[0] - columns * (width + _GAP) + _GAP) // 2
    for row, frames in enumerate(rows):
        for column in range(columns):
            idx = round(column * (len(frames) - 1) / max(columns - 1, 1))
            place = left + column * (width + _GAP), _GAP + row * (height + _GAP)
            sheet.paste(frames[idx].resize((width, height), Image.Resampling.LANCZOS), place)
    return sheet


def on_card(picture: Image.Image) -> Image.Image:
    """The whole picture in the middle of a card."""
    sheet = Image.new("RGB", SIZE, _CANVAS)
    shown = picture.convert("RGB")
    shown.thumbnail(SIZE, Image.Resampling.LANCZOS)
    sheet.paste(shown, ((SIZE[0] - shown.width) // 2, (SIZE[1] - shown.height) // 2))
    return sheet


def _frames(path: Path) -> list[Image.Image]:
    import av

    with av.open(str(path)) as file:
        return [frame.to_image() for frame in file.decode(video=0)]
