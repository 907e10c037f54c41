"""The Memory Bank's routes: sessions on disk, their cards and thumbnails, and what a user does.

Names of sessions and ids of entries alone, never a path. A change is on disk when it is answered.
"""

import asyncio
import time
from typing import Any

from aiohttp import web

from ....memv2v_core.cache.entry import is_entry_id
from ....memv2v_core.cache.session_list import session_facts
from ..sessions import by_hand
from ..sessions.cards import bank_of, picture_of
from ..sessions.folders import refused_name, session_state, sessions_root
from .trust import body_of, trusted

_ROOT = "/memory_v2v/sessions"
_ONE = f"{_ROOT}/{{session}}"
# An entry's id is the hash of its content, so its pictures never change.
_FOR_EVER = "private, max-age=31536000, immutable"


def add(table: web.RouteTableDef) -> None:
    """Add these routes."""
    table.get(_ROOT)(_list)
    table.get("/memory_v2v/session_name")(_name)
    table.get(_ONE)(_bank)
    table.get(f"{_ONE}/{{entry}}/picture")(_picture)
    table.post(f"{_ONE}/pin")(_pin)
    table.post(f"{_ONE}/forget")(_forget)
    table.post(f"{_ONE}/branch")(_branch)


@trusted
async def _list(_request: web.Request) -> web.Response:
    found = await asyncio.to_thread(session_facts, sessions_root())
    return web.json_response({"now_s": time.time(), "sessions": [item._asdict() for item in found]})


@trusted
async def _name(request: web.Request) -> web.Response:
    """Why the name cannot be a session's; null where it can."""
    return web.json_response({"refused": refused_name(request.query.get("name", ""))})


@trusted
async def _bank(request: web.Request) -> web.Response:
    session = request.match_info["session"]
    _require_name(session)
    # The state first: what changes while the cards are read is seen by the next request.
    state = await asyncio.to_thread(session_state, session)
    headers = {"ETag": f'"{state}"', "Cache-Control": "private, no-cache"}
    if any(tag.value == state for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    found = await asyncio.to_thread(bank_of, session)
    if any(card["camera_waits"] for card in found["cards"]):
        # The next request gets more of it, so nobody may keep this one.
        headers = {"Cache-Control": "no-store"}
    return web.json_response(found, headers=headers)


@trusted
async def _picture(request: web.Request) -> web.Response:
    session, entry_id = request.match_info["session"], request.match_info["entry"]
    is_still = "still" in request.query
    data, kind = await asyncio.to_thread(picture_of, session, entry_id, is_still)
    return web.Response(body=data, content_type=kind, headers={"Cache-Control": _FOR_EVER})


@trusted
async def _pin(request: web.Request) -> web.Response:
    session, entry_id, body = await _of_entry(request)
    is_pinned = body.get("pinned")
    if not isinstance(is_pinned, bool):
        raise ValueError("pinned got no boolean, wanted true or false; reload the page")
    return _done(await asyncio.to_thread(by_hand.pin, session, entry_id, is_pinned))


@trusted
async def _forget(request: web.Request) -> web.Response:
    session, entry_id, _ = await _of_entry(request)
    return _done(await asyncio.to_thread(by_hand.forget, session, entry_id))


@trusted
async def _branch(request: web.Request) -> web.Response:
    session, entry_id, body = await _of_entry(request)
    name = body.get("name")
    if not isinstance(name, str):
        raise ValueError("name got no text, wanted the name of the new session; reload the page")
    _require_name(name)
    return _done(await asyncio.to_thread(by_hand.branch, session, entry_id, name))


async def _of_entry(request: web.Request) -> tuple[str, str, dict[str, Any]]:
    """Session, entry id and body of a request that changes an entry.

    Raises: ValueError for what is no name and no id.
    """
    session, body = request.match_info["session"], await body_of(request)
    _require_name(session)
    entry_id = body.get("entry")
    if not is_entry_id(entry_id):
        raise ValueError("entry got no id of an entry, wanted 32 hex digits; reload the page")
    return session, str(entry_id), body


def _require_name(session: str) -> None:
    if reason := refused_name(session):
        raise ValueError(reason)


def _done(notices: tuple[str, ...]) -> web.Response:
    return web.json_response({"notes": list(notices)})
