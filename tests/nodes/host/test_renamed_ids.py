"""Requests of the version before: our nodes get their new ids, nobody else's do."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rename(comfy_api):
    """rename(nodes, others) -> class types after renaming; others: inputs of foreign nodes."""
    from memory_v2v.nodes import MENU
    from memory_v2v.nodes.host.renamed_ids import input_names, rename_nodes

    nodes = [node for file in MENU for node in file.NODES]
    ours = {node.GET_SCHEMA().node_id: input_names(node) for node in nodes}

    def run(nodes: dict[str, dict], others: dict[str, frozenset[str]] | None = None) -> list[str]:
        request = rename_nodes({"prompt": nodes}, {**(others or {}), **ours})
        return [node["class_type"] for node in request["prompt"].values()]

    return run


def node(class_type: str, **inputs: object) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def test_every_renamed_id_is_a_node_of_today(comfy_api) -> None:
    from memory_v2v.nodes import MENU
    from memory_v2v.nodes.host.renamed_ids import RENAMED

    ids = {node.GET_SCHEMA().node_id for file in MENU for node in file.NODES}
    assert len(RENAMED) == 14
    assert {new.removeprefix("MemV2V") for new in RENAMED.values()} == set(RENAMED)
    assert set(RENAMED.values()) <= ids
    assert not set(RENAMED) & ids


def test_our_nodes_are_renamed_and_others_stay(rename) -> None:
    nodes = {
        "1": node("CameraTrajectory", motion="pan_left", num_frames=9),
        "2": node("MemoryCache", session="kitchen"),
        "3": node("KSampler", steps=4),
        "4": node("CameraTrajectory", pose_filepath="a.txt"),
        "5": {"class_type": None, "inputs": {}},
    }
    assert rename(nodes) == [
        "MemV2VCameraTrajectory",
        "MemoryCache",
        "KSampler",
        "CameraTrajectory",
        None,
    ]


def test_a_pack_that_owns_the_old_id_keeps_the_nodes_that_it_knows(rename) -> None:
    others = {"FitVideo": frozenset({"width", "height"})}
    nodes = {
        "1": node("FitVideo", width=8, height=8),
        "2": node("FitVideo", width=8, height=8, temporal_ratio=1),
    }
    assert rename(nodes, others) == ["FitVideo", "MemV2VFitVideo"]


def test_a_request_of_another_form_is_left_alone(comfy_api) -> None:
    from memory_v2v.nodes.host.renamed_ids import rename_nodes

    for request in ({}, {"prompt": None}, {"prompt": {"1": "x", "2": {"inputs": []}}}):
        assert rename_nodes(dict(request), {}) == request


def test_a_request_of_the_version_before_runs_on_the_server(comfy_server) -> None:
    from devtools.api import output_files

    prompt = {
        "1": node("DemoScene", scene=1, num_frames=1, size=64, drift_deg=0.0),
        "2": node("PreviewCameraTrajectory", camera=["1", 1]),
        "3": node("PreviewImage", images=["1", 0]),
    }
    kinds = {file.node_id for file in output_files(comfy_server.api.run(prompt))}
    assert kinds == {"2", "3"}


def test_the_server_lists_replacements_but_for_an_id_that_another_pack_has(
    comfy_api, comfy_server
) -> None:
    from comfy_api.latest import io

    if not hasattr(io, "NodeReplace"):
        pytest.skip("this ComfyUI keeps no list of replacements")
    listed = comfy_server.api.get("/node_replacements")
    renamed = json.loads(
        (ROOT / "web" / "renamed_nodes" / "renamed_nodes.json").read_text(encoding="utf-8")
    )
    ours = {old: rules[0]["new_node_id"] for old, rules in listed.items() if old in renamed}
    assert ours == {old: new for old, new in renamed.items() if old != "CameraTrajectory"}
    widgets = listed["EditLongVideo"][0]["old_widget_ids"]
    assert widgets[widgets.index("seed") + 1] == "control_after_generate"
