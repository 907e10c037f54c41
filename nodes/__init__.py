"""The pack's extension: everything that imports ComfyUI lives in this folder."""

from comfy_api.latest import ComfyExtension, io

from . import (
    adapters,
    cache,
    cameras,
    conditioning,
    demo_clips,
    evaluation,
    loading,
    long_video,
    retrieval,
    sampling,
    segment_retrieval,
    stitching,
    video,
)


class MemoryV2VExtension(ComfyExtension):
    """Registers the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        turns = (
            loading,
            adapters,
            video,
            demo_clips,
            cameras,
            cache,
            retrieval,
            conditioning,
            sampling,
            evaluation,
        )
        modules = (*turns, stitching, segment_retrieval, long_video)
        return [node for module in modules for node in module.NODES]
