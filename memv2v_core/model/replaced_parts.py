"""Functions and modules of a DiT that another program put in place of its own.

Our forward calls the DiT's modules one by one, over a sequence that also holds clean videos. A part
that takes all tokens for frames of the target gives wrong results there, and a part that our
forward does not call does nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import torch

# Code of these packages belongs to the host program, or is ours.
_NATIVE = ("comfy", "comfy_extras", "torch", "memory_v2v", "memv2v_core")
# The folder of the node packs, whose names users know.
_PACKS = "custom_nodes"
# Methods of the whole DiT that our forward stands in for.
_WHOLE = ("forward", "_forward", "forward_orig", "rope_encode")
_ROPE, _HEAD, _BLOCK, _ATTENTION = "rope_embedder", "head", "block", "self_attn"
# Parts of a block that treat every token by itself, if they are what they stand for: they can be
# measured.
TOKEN_WISE = ("cross_attn", "ffn")


@dataclass(frozen=True)
class ReplacedPart:
    """A part that is not the DiT's own.

    place: of the first block that has it, such as "blocks.0.self_attn". code: what stands there.
    """

    place: str
    code: Any

    @property
    def part(self) -> str:
        """What it is, such as "self_attn", or "block" for a whole one."""
        first, _, rest = self.place.partition(".")
        if first != "blocks":
            return first
        return rest.partition(".")[2] or _BLOCK

    def describe(self) -> str:
        """The name of the code and the pack that it comes from, for messages."""
        name, source = name_of(self.code), pack_of(self.code)
        return f"{name} of {source}" if source else name


def replaced_parts(model: torch.nn.Module) -> tuple[ReplacedPart, ...]:
    """The parts of a Wan DiT, as it is now, that are not its own.

    Of equal code in several blocks the first counts. Linear layers, norms and embeddings are not
    looked at: they treat every token by itself, and ways to load LoRAs live there.
    """
    return _first_of_each(_live_parts(model))


def replaced_by(patches: Mapping[str, Any]) -> tuple[ReplacedPart, ...]:
    """The same of object patches that a DiT will get.

    patches: by place in the DiT, such as "blocks.0.self_attn.forward".
    """
    wanted = {*_WHOLE, _ROPE, _HEAD, _BLOCK, _ATTENTION, *TOKEN_WISE}
    parts = (
        (key if key in _WHOLE else key.removesuffix(".forward"), patches[key]) for key in patches
    )
    return _first_of_each(
        (place, code) for place, code in parts if ReplacedPart(place, code).part in wanted
    )


def is_native(code: Any) -> bool:
    """Whether a function, or the class of an object, is the host program's or ours."""
    return _home_of(plain(code)).split(".")[0] in _NATIVE


def plain(code: Any) -> Any:
    """The function behind bound methods, partials and torch.compile; an object as it is."""
    while True:
        if isinstance(code, partial):
            code = code.func
        elif hasattr(code, "__func__"):
            code = code.__func__
        elif hasattr(code, "_torchdynamo_orig_callable"):
            code = code._torchdynamo_orig_callable
        else:
            return code


def name_of(code: Any) -> str:
    """The name of a function, or of the class of an object."""
    found = plain(code)
    name = getattr(found, "__qualname__", None) or type(found).__qualname__
    return name.replace(".<locals>", "")


def pack_of(code: Any) -> str:
    """The node pack that a function comes from, else its module; never a whole path."""
    found = plain(code)
    file = getattr(getattr(found, "__code__", None), "co_filename", "")
    parts = _parts(file)
    if _PACKS in parts[:-1]:
        return parts[parts.index(_PACKS) + 1].removesuffix(".py")
    # ComfyUI names the modules of a pack by its path, with other dots written as "_x_".
    parts = _parts(_home_of(found))
    if _PACKS in parts[:-1]:
        return parts[parts.index(_PACKS) + 1].partition(".")[0].replace("_x_", ".")
    return parts[-1]


def _parts(path: str) -> tuple[str, ...]:
    return PurePath(path.replace("\\", "/")).parts


def _home_of(found: Any) -> str:
    return getattr(found, "__module__", None) or type(found).__module__


def _live_parts(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    for name in _WHOLE:
        yield name, _called(model, name)
    yield _ROPE, model.rope_embedder
    yield _ROPE, _called(model.rope_embedder, "forward")
    yield _HEAD, _called(model.head, "forward")
    blocks: Any = model.blocks
    for idx, block in enumerate(blocks):
        yield f"blocks.{idx}", _called(block, "forward")
        for part in (_ATTENTION, *TOKEN_WISE):
            yield f"blocks.{idx}.{part}", _called(getattr(block, part), "forward")


def _called(owner: Any, name: str) -> Any:
    """The function that a call finds: the object's own, else the one of its class."""
    return vars(owner).get(name) or getattr(type(owner), name)


def _first_of_each(found: Iterable[tuple[str, Any]]) -> tuple[ReplacedPart, ...]:
    parts: dict[tuple[str, str, str], ReplacedPart] = {}
    for place, code in found:
        if not is_native(code):
            part = ReplacedPart(place, code)
            parts.setdefault((part.part, name_of(code), pack_of(code)), part)
    return tuple(parts.values())
