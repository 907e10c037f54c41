"""Every node has its place in the menu, and words that find it where ComfyUI knows them."""

import asyncio
from dataclasses import fields
from typing import Any

import pytest

FOLDERS = {"models", "clips", "cameras", "memory", "sampling", "long video", "look"}


@pytest.fixture(scope="module")
def schemas(comfy_api) -> list[Any]:
    from memory_v2v.nodes import MemoryV2VExtension

    return [node.GET_SCHEMA() for node in asyncio.run(MemoryV2VExtension().get_node_list())]


def test_every_node_stands_in_a_folder_and_no_folder_is_empty(schemas: list[Any]) -> None:
    places = [schema.category.split("/") for schema in schemas]
    assert {root for root, _ in places} == {"Memory-V2V"}
    assert {folder for _, folder in places} == FOLDERS


def test_every_node_is_found_by_words_of_its_own(schemas: list[Any]) -> None:
    for schema in schemas:
        words = schema.search_aliases
        assert len(words) >= 3, schema.node_id
        assert len(set(words)) == len(words), schema.node_id
        assert all(word == word.lower().strip() for word in words), schema.node_id


def test_a_schema_without_the_field_gets_only_the_category(
    comfy_api, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memory_v2v.nodes.host import menu

    older = [field for field in fields(menu.io.Schema) if field.name != "search_aliases"]
    monkeypatch.setattr(menu, "fields", lambda schema: older)
    assert menu.in_menu("MemoryCache") == {"category": "Memory-V2V/memory"}
