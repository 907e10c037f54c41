"""A picture or a video together with a text, shown on a node; and a text while the node runs."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui


class PictureAndText(ui.PreviewImage):
    """A preview (F, H, W, 3) with lines of text below.

    `web/reports/` shows the text.
    """

    def __init__(self, picture: torch.Tensor, text: str, cls: type[io.ComfyNode]) -> None:
        super().__init__(picture, cls=cls)
        self.text = text

    def as_dict(self) -> dict:
        return {**super().as_dict(), "text": (self.text,)}


class VideosAndText(ui.PreviewVideo):
    """Video files in ComfyUI's temporary folder with lines of text below.

    `web/reports/` shows the text.
    session: where its pieces are saved; `web/bank/` shows it.
    """

    def __init__(self, paths: Sequence[Path], text: str, session: str | None = None) -> None:
        super().__init__([ui.SavedResult(path.name, "", io.FolderType.temp) for path in paths])
        self.text, self.session = text, session

    def as_dict(self) -> dict:
        session = {"session": (self.session,)} if self.session else {}
        return {**super().as_dict(), "text": (self.text,), **session}


class VideoAndText(VideosAndText):
    """The same for one video."""

    def __init__(self, path: Path, text: str, session: str | None = None) -> None:
        super().__init__((path,), text, session)


def teller(hidden: io.HiddenHolder | None) -> Callable[[tuple[str, ...]], None]:
    """A function that shows lines of text on the running node at once, and logs them.

    hidden: of a node whose schema asks for `UNIQUE_ID`.
    """

    def tell(lines: tuple[str, ...]) -> None:
        for line in lines:
            logging.info("Memory-V2V: %s", line)
        server = running_server()
        if lines and server is not None and hidden is not None and hidden.unique_id is not None:
            server.send_progress_text("\n".join(lines), hidden.unique_id)

    return tell


async def after_ready_nodes() -> None:
    """Give way to every node of the graph that could run now, as a decoder and the nodes behind it.

    ComfyUI goes on with them while an asynchronous node waits, and comes back when none is left.
    """
    await asyncio.sleep(0)


def show_on_running_node(text: str) -> None:
    """Show a line on the node that ComfyUI runs now, whichever it is."""
    server = running_server()
    node_id = getattr(server, "last_node_id", None)
    if server is not None and node_id is not None:
        server.send_progress_text(text, node_id)


def running_server() -> Any:
    """ComfyUI's server; None where a node is run without it."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
