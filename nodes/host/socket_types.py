"""What arrives at a socket is checked once, before a node sees it.

ComfyUI checks links, but passes on a number or a text that a request writes where a link belongs.
"""

from collections.abc import Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import torch
from comfy_api.latest import io

from ...memv2v_core.cache.memory_cache import MemoryCache
from ...memv2v_core.cameras.trajectory import CameraTrajectory
from ...memv2v_core.retrieval.segments import SegmentQuery
from ...memv2v_core.retrieval.selection import Retrieval
from ...memv2v_core.tokens.budget import TokenPlan
from .clips.fitted import FittedClip
from .clips.segments import SplitVideo
from .models.attachment import LoadedAdapter

# The type of a socket's values. ComfyUI's MODEL, VAE and CLIP are whatever other packs make them.
_KINDS: dict[str, type] = {
    "MEMV2V_CAMERA": CameraTrajectory,
    "MEMV2V_CACHE": MemoryCache,
    "MEMV2V_RETRIEVAL": Retrieval,
    "MEMV2V_PLAN": TokenPlan,
    "MEMV2V_ADAPTER": LoadedAdapter,
    "MEMV2V_FITTING": FittedClip,
    "MEMV2V_SEGMENTS": SplitVideo,
    "MEMV2V_SEGMENT": SegmentQuery,
    "DA3_GEOMETRY": Mapping,
    "LATENT": Mapping,
    "AUDIO": Mapping,
    "IMAGE": torch.Tensor,
    "MASK": torch.Tensor,
    "CONDITIONING": list,
}
_OTHERS = ("MODEL", "VAE", "CLIP", "VIDEO")
_WORDS = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}
_CONTENT = {"LATENT": "samples", "AUDIO": "waveform"}


def check_sockets(node: type[io.ComfyNode]) -> None:
    """Let `node` refuse literals at its sockets by one clear ValueError.

    Twice is as good as once.
    """
    if hasattr(node.execute, "__wrapped__"):
        return
    sockets = {
        given.id: (given.io_type, given.optional)
        for given in node.define_schema().inputs
        if given.io_type in _KINDS or given.io_type in _OTHERS
    }
    growing = {
        given.id: given.template.input.io_type
        for given in node.define_schema().inputs
        if isinstance(given, io.Autogrow.Input)
    }
    execute = node.execute.__func__

    def check(inputs: Mapping[str, Any]) -> None:
        for name, (socket, is_optional) in sockets.items():
            if name in inputs and not (is_optional and inputs[name] is None):
                _require_kind(name, socket, inputs[name])
        for name, socket in growing.items():
            _require_group(name, socket, inputs.get(name))

    @wraps(execute)
    def checked(cls: type[io.ComfyNode], *args: Any, **inputs: Any) -> io.NodeOutput:
        check(inputs)
        return execute(cls, *args, **inputs)

    @wraps(execute)
    async def checked_later(cls: type[io.ComfyNode], *args: Any, **inputs: Any) -> io.NodeOutput:
        check(inputs)
        return await execute(cls, *args, **inputs)

    # ComfyUI asks whether the function itself is asynchronous.
    node.execute = classmethod(checked_later if iscoroutinefunction(execute) else checked)


def _require_group(name: str, socket: str, values: object) -> None:
    """Check the sockets of an input that grows; it gives a mapping of the connected ones."""
    if values is None:
        return
    if not isinstance(values, Mapping):
        _require_kind(name, socket, values)
        return
    for each, value in values.items():
        _require_kind(each, socket, value)


def _require_kind(name: str, socket: str, value: object) -> None:
    is_literal = value is None or isinstance(value, str | int | float)
    is_kind = isinstance(value, _KINDS[socket]) if socket in _KINDS else not is_literal
    part = _CONTENT.get(socket)
    if is_kind and (part is None or (isinstance(value, Mapping) and part in value)):
        return
    what = _WORDS.get(type(value), f"a {type(value).__name__}")
    raise ValueError(
        f"{name} got {what}, wanted a {socket} that a node made; connect a node that has such an "
        "output"
    )
