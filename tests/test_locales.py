"""Each locale translates everything that the pack shows in ComfyUI's page, and nothing else."""

import asyncio
import json

import pytest

from devtools.environment import ROOT
from devtools.texts.comparison import (
    languages,
    left_over,
    missing_texts,
    read_locale,
    wrong_texts,
)
from devtools.texts.english import PACK, english_texts

LANGUAGES = languages()


@pytest.fixture(scope="module")
def english(comfy_api) -> dict:
    from memory_v2v.nodes import MemoryV2VExtension

    nodes = asyncio.run(MemoryV2VExtension().get_node_list())
    return english_texts({node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes})


def test_two_languages_beside_english() -> None:
    assert {"ja", "zh"} <= set(LANGUAGES)


def test_every_english_text_is_written(english: dict) -> None:
    blank = _blank(english)
    assert not blank, f"give these a text in English first: {blank}"


def test_every_template_in_english_is_a_workflow() -> None:
    written = read_locale("en")["main"]["templateWorkflows"]
    workflows = {path.stem for path in (ROOT / "workflows").glob("*.json")}
    for part in ("template", "templateDescription"):
        assert set(written[part][PACK]) == workflows


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_missing(language: str, english: dict) -> None:
    missing = missing_texts(english, read_locale(language))
    shown = json.dumps(missing, ensure_ascii=False, indent=2)
    assert not missing, f"translate these into locales/{language}/*.json:\n{shown}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_left_over(language: str, english: dict) -> None:
    extra = left_over(english, read_locale(language))
    assert not extra, "delete from locales/{}:\n{}".format(language, "\n".join(extra))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_can_be_shown(language: str, english: dict) -> None:
    wrong = wrong_texts(english, read_locale(language))
    assert not wrong, "\n".join(wrong)


def test_a_gap_and_a_fault_are_found(english: dict) -> None:
    """The checks above see what they are for."""
    one = {"main": {"memoryV2V": {"{count} turns": "{count} turns", "Close": "Close"}}}
    assert missing_texts(one, {"main": {"memoryV2V": {"Close": " "}}}) == one
    assert left_over(one, {"main": {"memoryV2V": {"Shut": "x"}}}) == ["main.json memoryV2V > Shut"]
    other = {"main": {"memoryV2V": {"{count} turns": "{number} x", "Close": "<b>x</b>"}}}
    faults = wrong_texts(one, other)
    assert len(faults) == 2
    assert "other {values}" in faults[0]
    assert "HTML" in faults[1]
    node = next(iter(english["nodeDefs"]))
    as_in_english = {"nodeDefs": {node: {"description": english["nodeDefs"][node]["description"]}}}
    assert "is the English text" in wrong_texts(english, as_in_english)[0]


def _blank(texts: dict, place: str = "") -> list[str]:
    found: list[str] = []
    for key, value in texts.items():
        inner = f"{place} > {key}"
        if isinstance(value, dict):
            found += _blank(value, inner)
        elif not value.strip():
            found.append(inner)
    return found
