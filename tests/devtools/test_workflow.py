"""The editor's workflow format -> the API's prompt."""

import pytest

from devtools.workflow import (
    needed_for,
    node_titled,
    nodes_of_type,
    with_input,
    without_input,
    workflow_to_prompt,
)

OBJECT_INFO = {
    "Load": {
        "display_name": "Load Video",
        "input": {"required": {"file": ["COMBO", {"options": ["a.mp4"], "video_upload": True}]}},
    },
    "Sample": {
        "display_name": "Sampler",
        "input": {
            "required": {
                "model": ["MODEL", {}],
                "seed": ["INT", {"default": 0}],
                "steps": ["INT", {"default": 20}],
                "sampler": [["euler", "heun"], {}],
            },
            "optional": {"image": ["IMAGE", {}], "note": ["STRING", {"default": "none"}]},
        },
        "input_order": {
            "required": ["model", "seed", "steps", "sampler"],
            "optional": ["image", "note"],
        },
    },
    "Resize": {
        "display_name": "Resize",
        "input": {
            "required": {
                "input": ["IMAGE", {}],
                "how": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {
                                "key": "by factor",
                                "inputs": {"required": {"factor": ["FLOAT", {"default": 1.0}]}},
                            },
                            {
                                "key": "to size",
                                "inputs": {
                                    "required": {"width": ["INT", {}], "height": ["INT", {}]}
                                },
                            },
                        ]
                    },
                ],
                "method": ["COMBO", {"options": ["area"]}],
            }
        },
    },
    "Filter": {
        "display_name": "Filter",
        "input": {"required": {"image": ["IMAGE", {}], "gain": ["FLOAT", {}]}},
    },
}


def _node(
    node_id: int,
    kind: str,
    inputs: tuple = (),
    values: object = (),
    mode: int = 0,
    outputs: tuple = (),
) -> dict:
    slots = [{"name": name, "type": kind_, "link": link} for name, kind_, link in inputs]
    widgets = dict(values) if isinstance(values, dict) else list(values)
    outs = [{"name": name, "type": name} for name in outputs]
    return {
        "id": node_id,
        "type": kind,
        "inputs": slots,
        "outputs": outs,
        "widgets_values": widgets,
        "mode": mode,
    }


def _workflow(nodes: list[dict], links: list) -> dict:
    return {"nodes": nodes, "links": links, "version": 0.4}


def test_a_seed_without_its_control_is_refused_as_the_editor_would_read_it_wrongly() -> None:
    with pytest.raises(ValueError, match="got 4 after seed, wanted one of decrement, fixed"):
        workflow_to_prompt(_workflow([_node(2, "Sample", values=[11, 4, "heun"])], []), OBJECT_INFO)


def test_seed_control_is_skipped_and_links_become_references() -> None:
    nodes = [
        _node(1, "Load", values=["a.mp4", "image"], outputs=("IMAGE",)),
        _node(
            2,
            "Sample",
            [("model", "MODEL", None), ("image", "IMAGE", 7)],
            [11, "randomize", 4, "heun", "hello"],
        ),
    ]
    prompt = workflow_to_prompt(_workflow(nodes, [[7, 1, 0, 2, 1, "IMAGE"]]), OBJECT_INFO)
    assert prompt["1"]["inputs"] == {"file": "a.mp4"}
    assert prompt["2"]["inputs"] == {
        "seed": 11,
        "steps": 4,
        "sampler": "heun",
        "note": "hello",
        "image": ["1", 0],
    }
    assert prompt["2"]["_meta"] == {"title": "Sampler"}


def test_missing_widget_values_take_the_schema_default() -> None:
    prompt = workflow_to_prompt(
        _workflow([_node(2, "Sample", values=[11, "fixed"])], []), OBJECT_INFO
    )
    assert prompt["2"]["inputs"] == {"seed": 11, "steps": 20, "note": "none"}


def test_linked_widget_keeps_its_place_among_the_values() -> None:
    node = _node(2, "Sample", values=[11, "fixed", 4, "heun", "x"])
    node["inputs"] = [{"name": "steps", "type": "INT", "link": 3, "widget": {"name": "steps"}}]
    nodes = [_node(1, "Load", values=["a.mp4"], outputs=("INT",)), node]
    prompt = workflow_to_prompt(
        _workflow(nodes, [{"id": 3, "origin_id": 1, "origin_slot": 0}]), OBJECT_INFO
    )
    assert prompt["2"]["inputs"] == {"seed": 11, "steps": ["1", 0], "sampler": "heun", "note": "x"}


def test_values_saved_by_name() -> None:
    nodes = [_node(2, "Sample", values={"seed": 5, "steps": 6, "sampler": "euler", "preview": {}})]
    inputs = workflow_to_prompt(_workflow(nodes, []), OBJECT_INFO)["2"]["inputs"]
    assert inputs == {"seed": 5, "steps": 6, "sampler": "euler", "note": "none"}


def test_dynamic_combo_uses_dotted_names() -> None:
    nodes = [_node(3, "Resize", [("input", "IMAGE", None)], ["to size", 64, 48, "area"])]
    inputs = workflow_to_prompt(_workflow(nodes, []), OBJECT_INFO)["3"]["inputs"]
    assert inputs == {"how": "to size", "how.width": 64, "how.height": 48, "method": "area"}


@pytest.mark.parametrize(("mode", "expected"), [(0, ["4", 0]), (4, ["1", 0]), (2, None)])
def test_bypassed_nodes_pass_on_and_muted_ones_vanish(mode: int, expected: list | None) -> None:
    nodes = [
        _node(1, "Load", values=["a.mp4"], outputs=("IMAGE",)),
        _node(4, "Filter", [("image", "IMAGE", 1)], [0.5], mode, ("IMAGE",)),
        _node(2, "Sample", [("image", "IMAGE", 2)], [1, "fixed", 2, "euler", ""]),
        _node(9, "Note", values=["read me"]),
    ]
    prompt = workflow_to_prompt(
        _workflow(nodes, [[1, 1, 0, 4, 0, "IMAGE"], [2, 4, 0, 2, 0, "IMAGE"]]), OBJECT_INFO
    )
    assert prompt["2"]["inputs"].get("image") == expected
    assert ("4" in prompt) == (mode == 0)
    assert "9" not in prompt


def test_unknown_type_and_subgraph_are_named() -> None:
    with pytest.raises(ValueError, match="node 5 has type Gone"):
        workflow_to_prompt(_workflow([_node(5, "Gone")], []), OBJECT_INFO)
    with pytest.raises(ValueError, match="subgraphs"):
        workflow_to_prompt({**_workflow([], []), "definitions": {"subgraphs": [{}]}}, OBJECT_INFO)


def test_inputs_change_on_a_copy() -> None:
    prompt = workflow_to_prompt(
        _workflow([_node(2, "Sample", values=[11, "fixed"])], []), OBJECT_INFO
    )
    assert with_input(prompt, "2", "steps", 3)["2"]["inputs"]["steps"] == 3
    assert "note" not in without_input(prompt, "2", "note")["2"]["inputs"]
    assert prompt["2"]["inputs"] == {"seed": 11, "steps": 20, "note": "none"}
    assert nodes_of_type(prompt, "Sample") == ("2",)
    assert node_titled(prompt, "Sampler") == "2"
    with pytest.raises(ValueError, match="0 nodes are titled 'Loader'"):
        node_titled(prompt, "Loader")


def test_the_part_for_one_output_leaves_other_outputs_out() -> None:
    inputs = {
        "load": {"file": "a"},
        "edit": {"image": ["load", 0]},
        "save": {"image": ["edit", 0], "twice": ["load", 0]},
    }
    inputs["other"] = {"image": ["load", 0]}
    prompt = {name: {"class_type": name, "inputs": values} for name, values in inputs.items()}
    assert sorted(needed_for(prompt, "save")) == ["edit", "load", "save"]
    assert needed_for(prompt, "save")["edit"] == prompt["edit"]
