"""The pack's extension: everything that imports ComfyUI lives in this folder."""

from comfy_api.latest import ComfyExtension, io

from . import adapters, cache, cameras, conditioning, evaluation, loading, retrieval, sampling, video


class MemoryV2VExtension(ComfyExtension):
    """Registers the nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        modules = (loading, adapters, video, cameras, cache, retrieval, conditioning, sampling, evaluation)
        return [node for module in modules for node in module.NODES]
