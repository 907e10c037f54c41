"""No route of the pack answers a web page elsewhere."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request


@pytest.fixture
def routes(comfy_api) -> list[web.RouteDef]:
    from memory_v2v.nodes.host.routes.register import _ADDERS

    table = web.RouteTableDef()
    for add in _ADDERS:
        add(table)
    return [route for route in table if isinstance(route, web.RouteDef)]


def test_every_route_refuses_other_pages_by_itself(routes: list[web.RouteDef]) -> None:
    # ComfyUI refuses many such requests too, but not all, and not in every version.
    assert len(routes) > 10
    for route in routes:
        headers = {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}
        request = make_mocked_request(route.method, route.path, headers=headers)
        answer = asyncio.run(route.handler(request))
        assert answer.status == 403, f"{route.method} {route.path}"
        assert "from another site" in json.loads(answer.body)["error"], route.path
