"""Rarely used inputs are folded away in both renderings; what a workflow sets is in view."""

import pytest

from devtools.browser.bench import Bench

SEEN = {
    "MemV2VEditLongVideo": [
        *("session", "length", "overlap", "k", "seed", "steps", "cfg", "redo", "frame_rate"),
    ],
    "DynamicTokenize": ["top_kernel", "num_top", "rest_kernel", "unresponsive"],
    "MemoryV2VSampler": ["seed", "steps", "cfg", "take"],
    "MemV2VSplitSegments": ["length", "overlap", "shots", "frame_rate"],
    "MemV2VApplyMemory": ["batch_size"],
    "DinoSegmentRetrieve": ["index", "k", "descriptor"],
    "VideoFOVRetrieve": ["k"],
}
FOLDS = {
    "classic": ".memv2v-advanced",
    "nodes2": "[data-testid=advanced-inputs-button]",
}


def seen(bench: Bench, node: int) -> list[str]:
    """The inputs of a node that stand in the page as widgets, in their order."""
    bench.settle()
    return bench.evaluate(
        """(id, isDrawn) => {
          const node = app.graph.getNodeById(id);
          const names = node.inputs.filter((held) => held.widget).map((held) => held.name);
          const widgets = node.widgets.filter((held) => names.includes(held.name));
          if (isDrawn) {
            return widgets.filter((held) => node.isWidgetVisible(held)).map((held) => held.name);
          }
          const own = document.querySelector(`[data-node-id="${id}"]`);
          return [...own.querySelectorAll('[data-testid="node-widget"]')]
            .map((row) => names.filter((name) => row.textContent.startsWith(name)))
            .map((found) => found.sort((one, other) => other.length - one.length)[0])
            .filter(Boolean);
        }""",
        node,
        bench.rendering == "classic",
    )


def test_few_inputs_are_seen_and_one_press_shows_all(bench: Bench) -> None:
    ids = {name: bench.add(name, (60 + 420 * idx, 60)) for idx, name in enumerate(SEEN)}
    bench.show_all()
    assert {name: seen(bench, node) for name, node in ids.items()} == SEEN
    edit = ids["MemV2VEditLongVideo"]
    assert bench.evaluate("(id) => app.graph.getNodeById(id).size[1]", edit) < 800
    button = bench.page.locator(FOLDS[bench.rendering]).first
    button.focus()
    bench.page.keyboard.press("Enter")
    bench.wait_until("(id) => app.graph.getNodeById(id).showAdvanced === true", edit)
    assert len(seen(bench, edit)) > 30
    button.focus()
    bench.page.keyboard.press("Enter")
    bench.wait_until("(id) => !app.graph.getNodeById(id).showAdvanced", edit)
    assert seen(bench, edit) == SEEN["MemV2VEditLongVideo"]
    if bench.rendering == "classic":
        assert bench.evaluate("(id) => app.graph.getNodeById(id).size[1]", edit) < 800


@pytest.mark.parametrize("sensitivity", [0.5, 0.75])
def test_a_folded_input_that_a_workflow_sets_is_in_view(bench: Bench, sensitivity: float) -> None:
    node = bench.add("MemV2VSplitSegments", (60, 60))
    bench.set_widget(node, "sensitivity", sensitivity)
    graph = bench.saved()
    # As a version saved it that folded nothing.
    graph["nodes"][0].pop("showAdvanced", None)
    bench.open_workflow(graph)
    assert ("sensitivity" in seen(bench, node)) == (sensitivity != 0.5)
    assert bench.widget(node, "sensitivity") == sensitivity
    assert not bench.problems


def test_a_folded_input_with_a_link_is_in_view(bench: Bench) -> None:
    number = bench.add("PrimitiveFloat", (60, 60))
    node = bench.add("MemV2VSplitSegments", (400, 60))
    assert "sensitivity" not in seen(bench, node)
    bench.connect(number, "FLOAT", node, "sensitivity")
    bench.wait_until(
        """(id, isDrawn) => {
          const node = app.graph.getNodeById(id);
          const widget = node.widgets.find((held) => held.name === 'sensitivity');
          return isDrawn ? node.isWidgetVisible(widget)
            : document.querySelector(`[data-node-id="${id}"]`).textContent.includes('sensitivity');
        }""",
        node,
        bench.rendering == "classic",
    )
