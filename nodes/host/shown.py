"""A picture or a video together with a text, shown on a node."""

from pathlib import Path

import torch
from comfy_api.latest import io, ui


class PictureAndText(ui.PreviewImage):
    """A preview (F, H, W, 3) with lines of text below.

    `web/memory_v2v.js` shows the text.
    """

    def __init__(self, picture: torch.Tensor, text: str, cls: type[io.ComfyNode]) -> None:
        super().__init__(picture, cls=cls)
        self.text = text

    def as_dict(self) -> dict:
        return {**super().as_dict(), "text": (self.text,)}


class VideoAndText(ui.PreviewVideo):
    """A video file in ComfyUI's temporary folder with lines of text below.

    `web/memory_v2v.js` shows the text.
    """

    def __init__(self, path: Path, text: str) -> None:
        super().__init__([ui.SavedResult(path.name, "", io.FolderType.temp)])
        self.text = text

    def as_dict(self) -> dict:
        return {**super().as_dict(), "text": (self.text,)}
