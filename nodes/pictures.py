"""Showing a picture and a text together on a node."""

import torch
from comfy_api.latest import io, ui


class PictureAndText(ui.PreviewImage):
    """A preview (F, H, W, 3) with lines of text below, which `web/memory_v2v.js` shows."""

    def __init__(self, picture: torch.Tensor, text: str, cls: type[io.ComfyNode]) -> None:
        super().__init__(picture, cls=cls)
        self.text = text

    def as_dict(self) -> dict:
        return {**super().as_dict(), "text": (self.text,)}
