"""Events to the page that queued the run."""

from typing import Any

from comfy_api.latest import io

from ..sessions.first_use import workflow_id
from ..shown import running_server
from .states import Place

PROGRESS, PREVIEW = "memory_v2v.progress", "memory_v2v.preview"


def tell_page(event: str, content: dict[str, Any]) -> None:
    """Send an event to the client whose request runs now; nothing without a server or client."""
    found = running_server()
    client = getattr(found, "client_id", None)
    if client is not None:
        found.send_sync(event, content, client)


def place_of(hidden: io.HiddenHolder | None) -> Place | None:
    """The running node; None where nothing tells which it is, as in a test without a server.

    hidden: of a node whose schema asks for `unique_id`, `dynprompt` and `extra_pnginfo`. What a
    schema does not ask for is taken from the server.
    """
    node = getattr(hidden, "unique_id", None)
    dynprompt = getattr(hidden, "dynprompt", None)
    if node is not None and dynprompt is not None:
        # A node that was made while the graph runs is shown on the one that made it.
        node = dynprompt.get_display_node_id(node)
    if node is None:
        node = getattr(running_server(), "last_node_id", None)
    if node is None:
        return None
    return Place(workflow_id(hidden), str(node))
