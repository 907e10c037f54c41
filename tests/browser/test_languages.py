"""Texts of the pack in another language, and its cards in the template dialog."""

from collections.abc import Iterator

import pytest

from devtools.browser.bench import Bench
from devtools.texts.comparison import read_locale
from devtools.texts.english import PACK

CHINESE = read_locale("zh")
CACHE = CHINESE["nodeDefs"]["MemoryCache"]
EMPTY_BANK = "Without a session this cache lives in the graph only. Choose one to keep its turns."
IS_CALLED = "(title) => LiteGraph.registered_node_types.MemoryCache.title === title"
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
    """The page after its language was changed while it was open."""
    bench.set_setting("Comfy.Locale", "zh")
    bench.wait_until(IS_CALLED, CACHE["display_name"])
    yield bench
    bench.set_setting("Comfy.Locale", "en")
    bench.wait_until(IS_CALLED, "Memory Cache")


def test_a_node_and_its_panel_speak_chinese(chinese: Bench) -> None:
    chinese.add("MemoryCache", (80, 80))
    chinese.page.get_by_text(CHINESE["main"]["memoryV2V"][EMPTY_BANK]).wait_for()
    shown = chinese.evaluate(SHOWN)
    assert shown["title"] == CACHE["display_name"]
    assert {given["name"] for given in CACHE["inputs"].values()} <= set(shown["inputs"])
    assert shown["outputs"] == [given["name"] for given in CACHE["outputs"].values()]
    label = chinese.page.locator(".memv2v-session-label").first
    assert label.inner_text() == CACHE["inputs"]["session"]["name"]
    assert not chinese.problems


def test_a_template_is_found_by_its_description_and_opened_by_its_title(bench: Bench) -> None:
    english = read_locale("en")["main"]["templateWorkflows"]
    name, words = "multi_turn_novel_view", "turn C sweeps across both"
    assert words in english["templateDescription"][PACK][name]
    bench.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    bench.page.locator("[role=dialog] input[placeholder]:visible").first.fill(words)
    card = bench.page.get_by_test_id(f"template-workflow-{name}")
    card.get_by_text(english["template"][PACK][name]).first.click()
    bench.wait_until("() => app.graph.nodes.some((node) => node.type === 'VideoFOVRetrieve')")
    assert not bench.problems
