"""Literals at sockets: ComfyUI passes them on, and the nodes refuse them by name."""

import pytest


@pytest.fixture(scope="module")
def checked_nodes(comfy_api) -> list:
    """All nodes of the pack, as ComfyUI gets them."""
    import asyncio

    from memory_v2v.nodes import MemoryV2VExtension

    return asyncio.run(MemoryV2VExtension().get_node_list())


def sockets_of(node) -> list[tuple[str, str]]:
    from memory_v2v.nodes.host import socket_types

    known = (*socket_types._KINDS, *socket_types._OTHERS)
    return [
        (each.id, each.io_type) for each in node.define_schema().inputs if each.io_type in known
    ]


def test_every_socket_of_every_node_refuses_a_literal(comfy_api, checked_nodes) -> None:
    count = 0
    for node in checked_nodes:
        for name, socket in sockets_of(node):
            for value, what in ((7, "a number"), ("x", "a text"), (True, "true or false")):
                with pytest.raises(ValueError, match=f"^{name} got {what}, wanted a {socket} that"):
                    comfy_api.run_node(node, **{name: value})
                count += 1
    assert count > 100


def test_nothing_is_refused_where_a_link_is_required(comfy_api, checked_nodes) -> None:
    from memory_v2v.nodes.retrieval import RecentRetrieve

    with pytest.raises(ValueError, match="^cache got nothing, wanted a MEMV2V_CACHE that a node"):
        RecentRetrieve.execute(cache=None, k=1)


@pytest.mark.parametrize(("socket", "value"), [("LATENT", {}), ("AUDIO", {}), ("IMAGE", [1])])
def test_what_only_looks_like_a_value_is_refused(comfy_api, checked_nodes, socket, value) -> None:
    found = [
        (node, name) for node in checked_nodes for name, kind in sockets_of(node) if kind == socket
    ]
    assert found
    for node, name in found:
        with pytest.raises(ValueError, match=f"^{name} got a "):
            comfy_api.run_node(node, **{name: value})


def test_every_socket_of_our_own_has_a_type(comfy_api, checked_nodes) -> None:
    from memory_v2v.nodes.host import socket_types

    ours = {
        each.io_type
        for node in checked_nodes
        for each in node.define_schema().inputs
        if each.io_type.startswith("MEMV2V_")
    }
    assert ours
    assert ours <= socket_types._KINDS.keys()
