"""Texts of the pack in another language, and its cards in the template dialog."""

from collections.abc import Iterator

import pytest

from devtools.browser.bench import Bench
from devtools.texts.comparison import read_locale
from devtools.texts.english import PACK

CACHE = read_locale("zh")["nodeDefs"]["MemoryCache"]
BANK = read_locale("zh")["main"]["memoryV2V"][
    "Without a session this cache lives in the graph only. Choose one to keep its turns."
]
SHOWN = """(type, label) => {
  const node = app.graph.nodes.find((held) => held.type === type);
  const shown = (slot) => slot.label ?? slot.localized_name ?? slot.name;
  return {
    title: node.title,
    inputs: node.inputs.map(shown),
    widgets: node.widgets.map((widget) => widget.label ?? widget.name),
    outputs: node.outputs.map(shown),
  };
}"""


@pytest.fixture
def chinese(bench: Bench) -> Iterator[Bench]:
    bench.set_setting("Comfy.Locale", "zh")
    bench.reload()
    yield bench
    bench.set_setting("Comfy.Locale", "en")
    bench.reload()


def _cards(bench: Bench, word: str) -> str:
    """What the template dialog shows for a search."""
    bench.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    field = bench.page.locator("[role=dialog] input[placeholder]:visible").first
    field.fill(word)
    card = bench.page.locator("[data-testid^=template-workflow-]").first
    card.wait_for()
    return card.inner_text()


def test_a_node_and_its_panel_speak_chinese(chinese: Bench) -> None:
    chinese.add("MemoryCache", (80, 80))
    chinese.settle()
    shown = chinese.evaluate(SHOWN, "MemoryCache")
    assert shown["title"] == CACHE["display_name"]
    assert {given["name"] for given in CACHE["inputs"].values()} <= {
        *shown["inputs"],
        *shown["widgets"],
    }
    assert shown["outputs"] == [given["name"] for given in CACHE["outputs"].values()]
    chinese.page.get_by_text(BANK).wait_for()
    label = chinese.page.locator(".memv2v-session-label").first
    assert label.inner_text() == CACHE["inputs"]["session"]["name"]
    assert not chinese.problems


def test_a_template_card_has_a_title_and_a_description(bench: Bench) -> None:
    english = read_locale("en")["main"]["templateWorkflows"]
    title = english["template"][PACK]["multi_turn_novel_view"]
    text = _cards(bench, title)
    assert title in text
    description = english["templateDescription"][PACK]["multi_turn_novel_view"]
    assert description.replace("-", "\u2011") in text
    bench.page.get_by_text(title).first.click()
    bench.wait_until("() => app.graph.nodes.some((node) => node.type === 'VideoFOVRetrieve')")
    assert not bench.problems
