"""Reports below nodes: a box that lets no node grow, and what a page that is loaded again shows."""

import pytest

from devtools.browser.bench import Bench

SAVED_HEIGHT = 360
TITLE_PX = 30


@pytest.fixture
def retrieve(bench: Bench) -> int:
    """VideoFOV Retrieve at a height that just holds its picture and its report in Nodes 2.0."""
    cache = bench.add("MemoryCache", (40, 60))
    path = bench.add("MemV2VCameraTrajectory", (40, 560))
    node = bench.add("VideoFOVRetrieve", (440, 60))
    bench.connect(cache, "cache", node, "cache")
    bench.connect(path, "camera", node, "camera")
    bench.evaluate(
        "(id, height) => app.graph.getNodeById(id).setSize([320, height])", node, SAVED_HEIGHT
    )
    return node


def height(bench: Bench, node_id: int) -> float:
    """Of a node without its title, as drawn, in px of the graph."""
    bench.settle()
    return bench.evaluate(
        """(id, title) => {
          const drawn = document.querySelector(`[data-node-id="${id}"]`);
          return drawn
            ? drawn.getBoundingClientRect().height / app.canvas.ds.scale - title
            : app.graph.getNodeById(id).size[1];
        }""",
        node_id,
        TITLE_PX,
    )


def pictures(bench: Bench, node_id: int) -> int:
    """How many pictures ComfyUI shows on a node."""
    return bench.evaluate(
        """(id) => document.querySelector(`[data-node-id="${id}"]`)
          ? [...document.querySelectorAll(`[data-node-id="${id}"] .image-preview img`)]
            .filter((shown) => shown.naturalWidth > 0).length
          : (app.graph.getNodeById(id).imgs ?? []).filter((shown) => shown.naturalWidth > 0).length
        """,
        node_id,
    )


def test_a_node_holds_its_picture_and_a_report_of_any_length(bench: Bench, retrieve: int) -> None:
    bench.run()
    report = bench.page.locator(".memv2v-report")
    report.last.wait_for()
    bench.page.wait_for_timeout(500)
    assert pictures(bench, retrieve) == 1
    if bench.rendering == "nodes2":
        assert height(bench, retrieve) <= SAVED_HEIGHT + 1

    # A long report scrolls inside, and its words can be selected.
    before = height(bench, retrieve)
    bench.evaluate(
        """(id) => app.graph.getNodeById(id).onExecuted(
          { text: [Array(200).fill("a line of a long report").join("\\n")] })""",
        retrieve,
    )
    assert height(bench, retrieve) == before
    long = report.filter(has_text="a line of a long report").locator(".memv2v-report-text")
    sizes = long.evaluate(
        "(box) => [box.scrollHeight > box.clientHeight, getComputedStyle(box).userSelect]"
    )
    assert sizes == [True, "text"]


def test_what_a_run_showed_is_there_after_a_reload(bench: Bench, retrieve: int) -> None:
    bench.run()
    bench.page.wait_for_timeout(500)
    bench.reload()
    bench.page.wait_for_selector(".memv2v-report-old")
    texts = bench.page.locator(".memv2v-report").all_inner_texts()
    assert len(texts) == 2
    assert all(text.startswith("Report from the last run") for text in texts)
    assert any("the cache is empty" in text for text in texts)
    bench.wait_until(
        """(id) => (document.querySelector(`[data-node-id="${id}"] .image-preview img`)
          ?? app.graph.getNodeById(id).imgs?.[0])?.naturalWidth > 0""",
        retrieve,
    )
    # A new run is no longer the last one.
    bench.set_widget(retrieve, "k", 5)
    bench.run()
    bench.wait_until("() => document.querySelectorAll('.memv2v-report-old').length < 2")
    assert not bench.problems
