"""Which requests the pack's routes answer: those of ComfyUI's own page, in JSON.

A web page elsewhere must not read or change an artist's sessions through the artist's browser.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_JSON = "application/json"
_MAX_BODY_BYTES = 2**20


def trusted(handler: Handler) -> Handler:
    """`handler` behind the checks.

    A refused request gets 403; a ValueError becomes 400, a missing file 404, and a disk that
    cannot be written 507. Each answer is JSON with one sentence at "error".
    """

    @wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        reason = _refusal(request)
        if reason:
            return _error(403, reason)
        try:
            return await handler(request)
        except ValueError as error:
            return _error(400, str(error))
        except FileNotFoundError as error:
            return _error(404, str(error))
        except OSError as error:
            logging.warning("Memory-V2V: %s", error)
            return _error(507, str(error))

    return answered


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request.

    Raises: ValueError for a body that is no JSON object, or too long.
    """
    if (request.content_length or 0) > _MAX_BODY_BYTES:
        raise ValueError(
            f"the request got {request.content_length} bytes, wanted at most {_MAX_BODY_BYTES}"
        )
    try:
        content = json.loads(await request.text())
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"the request is no JSON ({error}); reload the page") from error
    if not isinstance(content, dict):
        raise ValueError(f"the request got a {type(content).__name__}, wanted a JSON object")
    return content


def _refusal(request: web.Request) -> str | None:
    """Why this request is not one of ComfyUI's own page; None where it is."""
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        return f"the request came from another site ({site}); use ComfyUI's own page"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return f"the request came from {origin}, wanted {request.host}; use ComfyUI's own page"
    # A form of another page can send no JSON without asking first.
    if request.method != "GET" and request.content_type != _JSON:
        return f"the request is of type {request.content_type}, wanted {_JSON}"
    return None


def _error(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
