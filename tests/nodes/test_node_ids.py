"""What saved workflows hold of our nodes never changes: ids, inputs and outputs by place."""

import asyncio
import json
from pathlib import Path

import pytest

FROZEN = json.loads((Path(__file__).parent / "frozen_interface.json").read_text(encoding="utf-8"))
OF_THE_DESIGN = {
    "LoadMemoryV2VModel",
    "MemoryCache",
    "VideoFOVRetrieve",
    "DinoSegmentRetrieve",
    "DynamicTokenize",
    "MemoryV2VSampler",
    "StitchSegments",
}


@pytest.fixture(scope="module")
def schemas(comfy_api) -> dict:
    """Every node's schema, by id."""
    from memory_v2v.nodes import MemoryV2VExtension

    nodes = asyncio.run(MemoryV2VExtension().get_node_list())
    return {node.GET_SCHEMA().node_id: node.GET_SCHEMA() for node in nodes}


def test_every_id_is_on_the_list_and_stays(schemas: dict) -> None:
    assert set(schemas) == set(FROZEN)


def test_ids_that_are_not_of_the_design_are_our_own_word(schemas: dict) -> None:
    assert {name for name in schemas if not name.startswith("MemV2V")} == OF_THE_DESIGN


def test_a_node_keeps_its_inputs_and_outputs_in_their_places(schemas: dict) -> None:
    for node_id, frozen in FROZEN.items():
        inputs = [f"{given.id}: {given.io_type}" for given in schemas[node_id].inputs]
        outputs = [f"{given.display_name}: {given.io_type}" for given in schemas[node_id].outputs]
        assert inputs[: len(frozen["inputs"])] == frozen["inputs"], node_id
        assert outputs[: len(frozen["outputs"])] == frozen["outputs"], node_id


def test_an_input_that_came_later_is_optional_and_on_the_list(schemas: dict) -> None:
    for node_id, schema in schemas.items():
        names = [f"{given.id}: {given.io_type}" for given in schema.inputs]
        later = set(names) - set(FROZEN[node_id]["inputs"])
        assert not later, f"{node_id}: add {later} to frozen_interface.json, as optional inputs"
