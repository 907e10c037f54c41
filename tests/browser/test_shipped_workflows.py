"""The shipped workflows as an artist opens and runs them."""

from pathlib import Path

import pytest

from devtools.browser.bench import Bench
from devtools.browser.layout import boxes, overlapping
from devtools.browser.pictures import place_files
from memv2v_core.cache.storage import load_session

WORKFLOWS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
QUICK = {"steps": 2}


@pytest.fixture(autouse=True)
def files(browser_server) -> None:
    """Empty files of the names that workflows want: their graphs open without a missing file."""
    place_files(browser_server)


def set_everywhere(bench: Bench, **widgets: object) -> None:
    for name, value in widgets.items():
        bench.evaluate(
            """(name, value) => app.graph.nodes.forEach((node) => {
              const widget = node.widgets?.find((held) => held.name === name);
              if (widget) widget.value = value;
            })""",
            name,
            value,
        )


def covering(bench: Bench) -> list[tuple[str, str]]:
    """Types of the nodes of which one covers another."""
    types = bench.node_types()
    return [(types[one], types[other]) for one, other in overlapping(boxes(bench))]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_opens_without_a_complaint_and_nothing_covers_anything(bench: Bench, path: Path) -> None:
    bench.open_workflow(path)
    bench.page.wait_for_timeout(500)
    assert not covering(bench)
    assert not bench.problems
    dialogs = bench.page.locator(".p-dialog:visible, [role=dialog]:visible, .p-toast-message")
    assert dialogs.count() == 0, dialogs.first.inner_text()


def test_run_twice_unchanged_gives_three_turns_and_nothing_covers_anything(bench: Bench) -> None:
    bench.open_workflow(WORKFLOWS[[path.stem for path in WORKFLOWS].index("multi_turn_novel_view")])
    session = f"twice_{bench.rendering}"
    (cache,) = bench.evaluate("() => app.graph.findNodesByType('MemoryCache').map((n) => n.id)")
    bench.set_widget(cache, "session", session)
    set_everywhere(bench, **QUICK)
    folder = bench.server.base_dir / "output" / "memory_v2v" / session
    made = []
    for _ in range(2):
        bench.run()
        made.append([(held.turn, held.entry_id) for held in load_session(folder).cache.entries])
    assert [turn for turn, _ in made[0]] == [1, 2, 3]
    assert made[1] == made[0]
    assert not covering(bench)
    assert not bench.problems
