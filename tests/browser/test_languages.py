"""Texts of the pack in another language, and its cards in the template dialog."""

from collections.abc import Iterator
from typing import Any

import pytest

from devtools.browser.bench import Bench
from devtools.texts.comparison import read_locale
from devtools.texts.english import PACK

CHINESE = read_locale("zh")
CACHE = CHINESE["nodeDefs"]["MemoryCache"]
EMPTY_BANK = "Without a session this cache lives in the graph only. Choose one to keep its turns."
PATIENCE_S = 120.0
IS_FIRST = """(id) =>
  document.querySelector("[data-testid^=template-workflow-]")?.dataset.testid === id"""
SHOWN = """() => {
  const node = app.graph.nodes[0];
  const shown = (slot) => slot.label ?? slot.localized_name ?? slot.name;
  return {
    title: node.title,
    inputs: node.inputs.map(shown),
    outputs: node.outputs.map(shown),
  };
}"""


@pytest.fixture
def chinese(bench: Bench) -> Iterator[Bench]:
    """The page in Chinese. It is loaded anew: the newest frontend may else keep English titles."""
    bench.set_setting("Comfy.Locale", "zh")
    bench.reload()
    bench.clear()
    yield bench
    bench.set_setting("Comfy.Locale", "en")
    bench.reload()


def test_a_node_and_its_panel_speak_chinese(chinese: Bench) -> None:
    chinese.add("MemoryCache", (80, 80))
    chinese.page.get_by_text(CHINESE["main"]["memoryV2V"][EMPTY_BANK]).first.wait_for()
    shown = chinese.evaluate(SHOWN)
    assert shown["title"] == CACHE["display_name"]
    assert {given["name"] for given in CACHE["inputs"].values()} <= set(shown["inputs"])
    assert shown["outputs"] == [given["name"] for given in CACHE["outputs"].values()]
    label = chinese.page.locator(".memv2v-session-label").first
    assert label.inner_text() == CACHE["inputs"]["session"]["name"]
    assert not chinese.problems


def test_a_template_card_has_a_title_and_a_description(bench: Bench, stage: Any) -> None:
    english = read_locale("en")["main"]["templateWorkflows"]
    name = "multi_turn_novel_view"
    title = english["template"][PACK][name]
    bench.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    bench.page.locator("[role=dialog] input[placeholder]:visible").first.fill(title)
    bench.wait_until(IS_FIRST, f"template-workflow-{name}", patience_s=PATIENCE_S)
    card = bench.page.get_by_test_id(f"template-workflow-{name}")
    assert title in card.inner_text()
    if stage.frontend == "pinned":  # the newest shows no descriptions on cards, nobody's
        shown = card.inner_text().replace("\u2011", "-")
        assert english["templateDescription"][PACK][name] in shown
    card.click()
    bench.wait_until(
        "() => app.graph.nodes.some((node) => node.type === 'VideoFOVRetrieve')",
        patience_s=PATIENCE_S,
    )
    assert not bench.problems
