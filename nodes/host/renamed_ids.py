"""Node ids of the previous version, which old workflows still contain.

The page renames them when it opens a workflow (`web/renamed_nodes/`). The server renames them
when a request comes in. Both read `renamed_nodes.json` there. They rename a node only where it is
ours, since other packs have nodes with the same short names.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfy_api.latest import io

RENAMED: Mapping[str, str] = json.loads(
    (
        Path(__file__).resolve().parents[2] / "web" / "renamed_nodes" / "renamed_nodes.json"
    ).read_text(encoding="utf-8")
)

# Another pack has this id too. ComfyUI must not offer our node to users who lack that pack.
_ALSO_ANOTHERS = ("CameraTrajectory",)

Request = dict[str, Any]


def rename_nodes(request: Request, inputs_of: Mapping[str, frozenset[str]]) -> Request:
    """The POST /prompt body with new ids in place of old ones.

    A node is ours where every input that it names is an input of ours. Where another pack has the
    old id too, it keeps each node whose inputs it also knows.

    inputs_of: names of the inputs of every registered node.
    """
    for node in _nodes(request):
        old_id = node.get("class_type")
        if not isinstance(old_id, str) or old_id not in RENAMED:
            continue
        new_id = RENAMED[old_id]
        names = set(node["inputs"])
        is_anothers = old_id in inputs_of and names <= inputs_of[old_id]
        if not is_anothers and names <= inputs_of.get(new_id, frozenset()):
            node["class_type"] = new_id
    return request


def install_renaming(nodes: Sequence[type[io.ComfyNode]]) -> None:
    """Let the running server rename old ids in every request.

    Does nothing without a server.
    """
    from server import PromptServer

    if getattr(PromptServer, "instance", None) is None:
        return
    ours = {node.GET_SCHEMA().node_id: input_names(node) for node in nodes}

    def handler(request: Request) -> Request:
        return rename_nodes(request, {**_inputs_of_others(), **ours})

    PromptServer.instance.add_on_prompt_handler(handler)


async def register_replacements(nodes: Sequence[type[io.ComfyNode]]) -> None:
    """Register the new ids in ComfyUI's own list of replacements.

    Older ComfyUIs have no such list.
    """
    if not hasattr(io, "NodeReplace"):
        return
    from comfy_api.latest import ComfyAPI

    api, by_id = ComfyAPI(), {node.GET_SCHEMA().node_id: node for node in nodes}
    for old_id, new_id in RENAMED.items():
        if old_id not in _ALSO_ANOTHERS:
            await api.node_replacement.register(_replacement(old_id, by_id[new_id]))


def input_names(node: type[io.ComfyNode]) -> frozenset[str]:
    """Names of all inputs of a node."""
    return frozenset(given.id for given in node.GET_SCHEMA().inputs)


def _replacement(old_id: str, node: type[io.ComfyNode]) -> Any:
    schema = node.GET_SCHEMA()
    return io.NodeReplace(
        new_node_id=schema.node_id,
        old_node_id=old_id,
        old_widget_ids=_widget_ids(schema),
        input_mapping=[{"new_id": given.id, "old_id": given.id} for given in schema.inputs],
        output_mapping=[{"new_idx": idx, "old_idx": idx} for idx in range(len(schema.outputs))],
    )


def _widget_ids(schema: io.Schema) -> list[str]:
    """Names of a node's widgets, in the order of a saved workflow's values."""
    names = []
    for given in schema.inputs:
        if isinstance(given, io.WidgetInput):
            names.append(given.id)
            # The editor saves the seed control as a widget of its own.
            if getattr(given, "control_after_generate", None):
                names.append("control_after_generate")
    return names


def _inputs_of_others() -> dict[str, frozenset[str]]:
    """Names of the inputs of nodes that other packs registered under our old ids."""
    # ComfyUI's own module `nodes`, not this package.
    from nodes import NODE_CLASS_MAPPINGS

    found = {}
    for old_id in RENAMED:
        if old_id in NODE_CLASS_MAPPINGS:
            # Other packs may use the older interface, so the classic method is asked.
            groups = NODE_CLASS_MAPPINGS[old_id].INPUT_TYPES()
            names = (name for kind in ("required", "optional") for name in groups.get(kind, {}))
            found[old_id] = frozenset(names)
    return found


def _nodes(request: Request) -> list[dict[str, Any]]:
    prompt = request.get("prompt")
    if not isinstance(prompt, dict):
        return []
    nodes = [node for node in prompt.values() if isinstance(node, dict)]
    return [node for node in nodes if isinstance(node.get("inputs"), dict)]
