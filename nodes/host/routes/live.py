"""How far running nodes are, for a page that was loaded again."""

from aiohttp import web

from ..live.states import LIVE
from .trust import trusted


def add(table: web.RouteTableDef) -> None:
    """Add GET live: the last run of each node; and GET live/loop: the picture of one tile."""
    table.get("/memory_v2v/live")(_runs)
    table.get("/memory_v2v/live/loop")(_loop)


@trusted
async def _runs(_request: web.Request) -> web.Response:
    return web.json_response({"runs": LIVE.all()})


@trusted
async def _loop(request: web.Request) -> web.Response:
    query = request.rel_url.query
    number = query.get("number", "")
    if not number.isdecimal():
        raise ValueError(f"number got {number!r}, wanted the number of a tile; reload the page")
    # A run's picture never changes.
    headers = {"Cache-Control": "max-age=86400, immutable"}
    loop = LIVE.loop(query.get("run", ""), int(number))
    return web.Response(body=loop, content_type="image/webp", headers=headers)
