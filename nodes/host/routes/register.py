"""All HTTP routes of the pack, below /memory_v2v, on ComfyUI's own server."""

from collections.abc import Callable

from aiohttp import web

from ..shown import running_server
from . import cameras, live, sessions

# Each adds the routes of one file.
_ADDERS: tuple[Callable[[web.RouteTableDef], None], ...] = (live.add, sessions.add, cameras.add)


def register_routes() -> None:
    """Add the routes to the running server; nothing where nodes are used without one."""
    server = running_server()
    if server is None:
        return
    for add in _ADDERS:
        add(server.routes)
