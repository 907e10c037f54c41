"""Memory-V2V: explicit memory for multi-turn video editing with diffusion transformers, as ComfyUI
nodes.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import MemoryV2VExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> "MemoryV2VExtension":
    """The extension whose nodes ComfyUI registers; imported here so that tests may import this file
    alone.
    """
    from .nodes import MemoryV2VExtension

    return MemoryV2VExtension()
