"""Loaders of other packs that give a video in batches."""

from comfy_api.latest import io

# VideoHelperSuite runs the whole graph once for each batch of frames.
_BATCH_MANAGERS = ("VHS_BatchManager",)


def batch_notes(hidden: io.HiddenHolder | None) -> tuple[str, ...]:
    """A warning where the running graph gets its frames in batches.

    hidden: of a node whose schema asks for `DYNPROMPT`.
    """
    if hidden is None or hidden.dynprompt is None:
        return ()
    graph = hidden.dynprompt
    kinds = {graph.get_node(node_id)["class_type"] for node_id in graph.all_node_ids()}
    if not kinds.intersection(_BATCH_MANAGERS):
        return ()
    return (
        "this graph has a Meta Batch Manager: every batch is edited as a video of its own, in the "
        "same session, so a batch neither sees nor keeps the segments of the one before; load the "
        "whole clip as a video instead, which needs little memory",
    )
