"""The words of a prompt, for people to read.

A CONDITIONING has no words, so they are looked up in the graph.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from comfy_api.latest import io

# Inputs that hold a prompt's words in ComfyUI's own nodes, and inputs that lead to such inputs.
_WORDS = ("text", "prompt", "value", "string", "string_a", "string_b")
_LEADS = ("conditioning", "positive")


def typed_prompt(hidden: io.HiddenHolder | None, name: str = "positive") -> str:
    """The words that were typed for the CONDITIONING input `name` of the running node.

    "" where the words are not in the graph, for example when a node computes them.
    hidden: of a node whose schema asks for `DYNPROMPT` and `UNIQUE_ID`.
    """
    if hidden is None or hidden.dynprompt is None or hidden.unique_id is None:
        return ""
    graph, node_id = hidden.dynprompt, hidden.unique_id
    link = graph.get_node(node_id)["inputs"].get(name)
    found = _words(graph, link, {node_id}) if _is_link(link) else ()
    return "; ".join(dict.fromkeys(words for words in found if words.strip()))


def _words(graph: Any, link: list, seen: set[str]) -> Iterator[str]:
    node_id = link[0]
    if node_id in seen or not graph.has_node(node_id):
        return
    # A node may be reached on several ways, and its words count once.
    seen.add(node_id)
    inputs: Mapping[str, Any] = graph.get_node(node_id)["inputs"]
    for name, value in inputs.items():
        holds_words, leads = name in _WORDS, name.startswith(_LEADS)
        if holds_words and isinstance(value, str):
            yield value
        elif (holds_words or leads) and _is_link(value):
            yield from _words(graph, value, seen)


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2
