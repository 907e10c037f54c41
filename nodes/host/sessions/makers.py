"""Which node of which workflow made a turn, so that running again replaces its own turn alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from comfy_api.latest import io

from ....memv2v_core.cache.entry import MAX_MAKER
from .first_use import workflow_id

REPLACE, NEW_TAKE = "replace", "new take"
# As the requests of ComfyUI name a link: the id of a node and the number of its output.
_LINK_LENGTH = 2


def maker_of(hidden: io.HiddenHolder | None, take: str) -> str:
    """The name of the running node as a maker of turns.

    "" where its turns replace nothing: for a new take, and in requests of no workflow, which may
    run one graph many times for many turns.

    hidden: of a node whose schema asks for `EXTRA_PNGINFO` and `UNIQUE_ID`.
    """
    node_id = getattr(hidden, "unique_id", None)
    return "" if take == NEW_TAKE or node_id is None else _name(hidden, str(node_id))


def makers_after(hidden: io.HiddenHolder | None) -> frozenset[str]:
    """The names of all nodes of this workflow that depend on the running node and replace turns.

    hidden: of a node whose schema asks for `PROMPT` too.
    """
    prompt, node_id = getattr(hidden, "prompt", None), getattr(hidden, "unique_id", None)
    if not isinstance(prompt, Mapping) or node_id is None:
        return frozenset()
    after = _after(prompt, str(node_id))
    names = (
        _name(hidden, name)
        for name in after
        if prompt[name].get("inputs", {}).get("take") != NEW_TAKE
    )
    return frozenset(filter(None, names))


def _name(hidden: io.HiddenHolder | None, node_id: str) -> str:
    workflow = workflow_id(hidden)
    name = f"{workflow}/{node_id}"
    return "" if workflow is None or len(name) > MAX_MAKER else name


def _after(prompt: Mapping[str, Any], node_id: str) -> set[str]:
    """Ids of all nodes of a request that depend on this one."""
    readers: dict[str, list[str]] = {}
    for name, node in prompt.items():
        for source in _sources(node.get("inputs", {}).values()):
            readers.setdefault(source, []).append(name)
    found: set[str] = set()
    waiting = [node_id]
    while waiting:
        new = [name for name in readers.get(waiting.pop(), ()) if name not in found]
        found.update(new)
        waiting += new
    return found


def _sources(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, list) and len(value) == _LINK_LENGTH and isinstance(value[1], int):
            yield str(value[0])
