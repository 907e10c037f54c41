"""The routes of the camera path editor: a path as it will be, and what cached turns saw.

Nothing is queued and nothing is written. The page draws what the node computes.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ....memv2v_core.cameras.authored import PathSettings
from ....memv2v_core.cameras.keyframe_text import number_within
from ....memv2v_core.cameras.trajectory import lens_intrinsics
from ....memv2v_core.pictures.authored_views import authored_view
from ....memv2v_core.retrieval.video_fov import VideoFovConfig
from ..sessions.folders import refused_name
from ..sessions.turn_views import overlaps, seen_turns
from .trust import body_of, trusted

# As the widgets of Camera Trajectory.
_MAX_FRAMES = 2000
_FOV_DEG, _ASPECT = (0.0, 170.0), (0.1, 10.0)
# As the widgets of VideoFOV Retrieve.
_RADIUS, _BALANCE = (0.001, 1000.0), (0.0, 1.0)
_TEXTS = ("motion", "easing", "second_motion", "keyframes")
_NUMBERS = ("amplitude", "speed", "second_amplitude")
_KNOWN = (*_TEXTS, *_NUMBERS, "returns")
_SHOWN = 60


def add(table: web.RouteTableDef) -> None:
    """Add these routes."""
    table.post("/memory_v2v/path")(_path)
    table.get("/memory_v2v/path/turns")(_turns)


@trusted
async def _path(request: web.Request) -> web.Response:
    """The path of these settings, and how much of it each turn of a session saw."""
    body = await body_of(request)
    settings = _settings(body.get("settings"))
    num_frames = number_within("num_frames", body.get("num_frames"), (1, _MAX_FRAMES))
    fov_deg = number_within("fov_deg", body.get("fov_deg"), _FOV_DEG)
    aspect = number_within("aspect", body.get("aspect"), _ASPECT)
    if num_frames != int(num_frames):
        raise ValueError(f"num_frames got {num_frames:g}, wanted a whole number; round it")
    session, config = _session(body.get("session", "")), _config(body)

    def answer() -> dict[str, Any]:
        view = authored_view(settings, int(num_frames), lens_intrinsics(fov_deg, aspect), config)
        found = overlaps(seen_turns(session, config), view.path, config) if session else []
        return {**view.as_json(), "overlaps": found}

    return web.json_response(await asyncio.to_thread(answer))


@trusted
async def _turns(request: web.Request) -> web.Response:
    """What the turns of a session saw."""
    session = _session(request.query.get("session", ""))
    if not session:
        raise ValueError("session got no name, wanted the name of a session; choose one")
    given = request.query.get("radius")
    config = _config({} if given is None else {"radius": _number(given)})
    return web.json_response((await asyncio.to_thread(seen_turns, session, config)).as_json())


def _config(given: Mapping[str, object]) -> VideoFovConfig:
    """How the retrieval below the path scores; a request that does not say takes the defaults."""
    usual = VideoFovConfig()
    return VideoFovConfig(
        radius=number_within("radius", given.get("radius", usual.radius), _RADIUS),
        balance=number_within("balance", given.get("balance", usual.balance), _BALANCE),
    )


def _number(text: str) -> float | str:
    """The number that a query states; the text itself where it is none, for the error."""
    try:
        return float(text)
    except ValueError:
        return text


def _settings(given: object) -> PathSettings:
    """What the widgets say. Names and ranges are checked where the path is made."""
    if not isinstance(given, Mapping):
        raise ValueError("settings got no JSON object, wanted the widgets' values; reload the page")
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _KNOWN:
            raise ValueError(
                f"settings got {str(name)[:_SHOWN]!r}, wanted only {', '.join(_KNOWN)}; reload the "
                "page"
            )
        if name in _NUMBERS:
            values[name] = number_within(name, value, (-math.inf, math.inf))
        elif isinstance(value, str if name in _TEXTS else bool):
            values[name] = value
        else:
            kind = "a text" if name in _TEXTS else "true or false"
            raise ValueError(f"{name} got {str(value)[:_SHOWN]!r}, wanted {kind}; reload the page")
    return PathSettings(**values)


def _session(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("session got no text, wanted the name of a session; choose one")
    if reason := refused_name(name):
        raise ValueError(reason)
    return name
