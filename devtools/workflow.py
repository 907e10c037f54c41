"""A workflow of ComfyUI's editor as a prompt for its HTTP API.

The editor converts it in JavaScript. Here the same rules use the node schemas of /object_info.
"""

from collections.abc import Iterator
from typing import Any

MUTED, BYPASSED = 2, 4
FRONTEND_ONLY = {"Note", "MarkdownNote", "PrimitiveNode"}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC_COMBO}
SEED_NAMES = {"seed", "noise_seed"}
SEED_CONTROLS = {"fixed", "increment", "decrement", "randomize"}


def workflow_to_prompt(workflow: dict, object_info: dict) -> dict[str, dict]:
    """The API prompt {node id: {"class_type", "inputs"}} of a workflow in the editor's format.

    Muted nodes are dropped, bypassed nodes pass their inputs on, seeds stay as saved.
    Raises: ValueError for a node type that the server does not know, or for a subgraph.
    """
    if workflow.get("definitions", {}).get("subgraphs"):
        raise ValueError(
            "the workflow holds subgraphs; unpack them in the editor (right click, Unpack Subgraph)"
        )
    nodes = {node["id"]: node for node in workflow["nodes"]}
    # From link id to origin node and slot.
    links = {link[0]: (link[1], link[2]) for link in map(_as_tuple, workflow["links"])}
    prompt = {}
    for node in workflow["nodes"]:
        if (
            node.get("mode", 0) in (MUTED, BYPASSED)
            or node["type"] in FRONTEND_ONLY
            or node["type"] == "Reroute"
        ):
            continue
        if node["type"] not in object_info:
            raise ValueError(
                f"node {node['id']} has type {node['type']}, which this ComfyUI does not know; "
                "install its pack"
            )
        # Step 1: widgets. Step 2: links, which replace the value of a widget with the same name.
        inputs = dict(_widget_inputs(node, object_info[node["type"]]))
        for slot in node.get("inputs", []):
            source = _resolve(slot.get("link"), links, nodes)
            if source is not None:
                inputs[slot["name"]] = [str(source[0]), source[1]]
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": node.get("title") or object_info[node["type"]]["display_name"]},
        }
    return prompt


def nodes_of_type(prompt: dict[str, dict], class_type: str) -> tuple[str, ...]:
    """Ids of the prompt's nodes of one type, in the workflow's order."""
    return tuple(node_id for node_id, node in prompt.items() if node["class_type"] == class_type)


def node_titled(prompt: dict[str, dict], title: str) -> str:
    """Id of the one node with this title.

    Raises: ValueError when none or several have it.
    """
    found = [node_id for node_id, node in prompt.items() if node["_meta"]["title"] == title]
    if len(found) != 1:
        titles = sorted(node["_meta"]["title"] for node in prompt.values())
        raise ValueError(
            f"{len(found)} nodes are titled {title!r}, wanted one; the workflow has {titles}"
        )
    return found[0]


def with_input(prompt: dict[str, dict], node_id: str, name: str, value: Any) -> dict[str, dict]:
    """A copy of the prompt with one input of one node set."""
    node = prompt[node_id]
    return {**prompt, node_id: {**node, "inputs": {**node["inputs"], name: value}}}


def without_input(prompt: dict[str, dict], node_id: str, name: str) -> dict[str, dict]:
    """A copy of the prompt without one optional input of one node."""
    node = prompt[node_id]
    return {
        **prompt,
        node_id: {**node, "inputs": {k: v for k, v in node["inputs"].items() if k != name}},
    }


def needed_for(prompt: dict[str, dict], node_id: str) -> dict[str, dict]:
    """The part of the prompt that this node needs, including the node.

    No other output runs.
    """
    found, left = {}, [node_id]
    while left:
        name = left.pop()
        if name not in found:
            found[name] = prompt[name]
            # Inputs that are lists are links.
            left += [
                value[0] for value in prompt[name]["inputs"].values() if isinstance(value, list)
            ]
    return found


def _as_tuple(link: list | dict) -> tuple:
    """(id, origin node, origin slot) of a link, in either version of the format."""
    return (
        (link["id"], link["origin_id"], link["origin_slot"])
        if isinstance(link, dict)
        else tuple(link[:3])
    )


def _resolve(link_id: int | None, links: dict, nodes: dict) -> tuple[int, int] | None:
    """The (node id, slot) that feeds a link, or None.

    Reroutes and bypassed nodes are followed to their origin.
    """
    if link_id is None:
        return None
    origin_id, slot = links[link_id]
    origin = nodes[origin_id]
    if origin.get("mode", 0) == MUTED or origin["type"] in FRONTEND_ONLY:
        return None
    if origin["type"] == "Reroute":
        return _resolve(origin["inputs"][0].get("link"), links, nodes)
    if origin.get("mode", 0) != BYPASSED:
        return origin_id, slot
    inputs = origin.get("inputs", [])
    wanted = origin["outputs"][slot]["type"]
    # A bypassed node passes on an input of the output's type, first the one at the same place.
    same_place = inputs[slot : slot + 1]
    for candidate in (*same_place, *inputs):
        if candidate["type"] == wanted or "*" in (candidate["type"], wanted):
            return _resolve(candidate.get("link"), links, nodes)
    return None


def _widget_inputs(node: dict, info: dict) -> Iterator[tuple[str, Any]]:
    """(name, value) of every widget.

    The editor saves values by position; some packs save them by name.
    """
    slots = {slot["name"]: slot for slot in node.get("inputs", [])}
    saved = node.get("widgets_values") or []
    if isinstance(saved, dict):
        for name, spec in _specs(info["input"], info.get("input_order")):
            if _is_widget(name, spec, slots) and (name in saved or "default" in _options(spec)):
                yield name, saved.get(name, _options(spec).get("default"))
        return
    yield from _take_widgets("", info["input"], info.get("input_order"), slots, list(saved))


def _take_widgets(
    prefix: str, group: dict, order: dict | None, slots: dict, left: list
) -> Iterator[tuple[str, Any]]:
    """(name, value) of the widgets of one input group.

    It takes the values that it uses from the front of `left`.
    """
    for name, spec in _specs(group, order):
        full_name = prefix + name
        if not _is_widget(full_name, spec, slots):
            continue
        if left:
            value = left.pop(0)
        elif "default" in _options(spec):
            value = _options(spec)["default"]
        else:
            continue
        yield full_name, value
        # The editor saves the seed control as one more value after the seed.
        if _has_seed_control(name, spec) and left and (control := left.pop(0)) not in SEED_CONTROLS:
            raise ValueError(
                f"widgets_values got {control!r} after {full_name}, wanted one of "
                f"{', '.join(sorted(SEED_CONTROLS))}: the editor reads values by place and draws "
                "that control below every seed; save the workflow there"
            )
        # The chosen option brings its own widgets, saved right after it.
        if spec[0] == DYNAMIC_COMBO:
            chosen = next((o for o in _options(spec)["options"] if o["key"] == value), None)
            if chosen is not None:
                yield from _take_widgets(f"{full_name}.", chosen["inputs"], None, slots, left)


def _specs(group: dict, order: dict | None) -> Iterator[tuple[str, list]]:
    for section in ("required", "optional"):
        specs = group.get(section) or {}
        # `order` is the order of the widgets on the node.
        for name in (order or {}).get(section, specs):
            yield name, specs[name]


def _options(spec: list) -> dict:
    return spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}


def _is_widget(name: str, spec: list, slots: dict) -> bool:
    """Whether the editor drew a widget for this input.

    It lists sockets in the node's inputs, and widgets there only with a mark.
    """
    # The saved node says it.
    if name in slots:
        return "widget" in slots[name]
    options = _options(spec)
    if options.get("forceInput"):
        return False
    return (
        isinstance(spec[0], list)
        or spec[0] in WIDGET_TYPES
        or "widgetType" in options
        or options.get("socketless", False)
    )


def _has_seed_control(name: str, spec: list) -> bool:
    control = _options(spec).get("control_after_generate")
    return bool(control) if control is not None else spec[0] == "INT" and name in SEED_NAMES
