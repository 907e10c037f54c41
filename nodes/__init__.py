"""The pack's extension: everything that imports ComfyUI lives in this folder."""

from comfy_api.latest import ComfyExtension, io

from . import (
    cache,
    clips,
    comparing,
    demo,
    describing,
    evaluation,
    loading,
    retrieval,
    sampling,
    scoring,
    tokens,
)
from .cameras import estimating, exporting, importing, paths, playback, previewing
from .host.renamed_ids import install_renaming, register_replacements
from .host.routes.register import register_routes
from .host.socket_types import check_sockets
from .videos import long_video, reshoot, segments

# Every file of the menu, in the order of the work.
MENU = (
    loading,
    describing,
    clips,
    demo,
    paths,
    previewing,
    importing,
    estimating,
    playback,
    exporting,
    cache,
    retrieval,
    tokens,
    sampling,
    reshoot,
    segments,
    long_video,
    evaluation,
    comparing,
    scoring,
)


class MemoryV2VExtension(ComfyExtension):
    """Registers the nodes, and their ids of earlier versions."""

    async def on_load(self) -> None:
        nodes = await self.get_node_list()
        install_renaming(nodes)
        await register_replacements(nodes)
        register_routes()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        nodes = [node for file in MENU for node in file.NODES]
        for node in nodes:
            check_sockets(node)
        return nodes
