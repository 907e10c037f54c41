"""The Memory Bank: cards, their buttons, a thousand of them, and sessions in a list."""

import shutil
from pathlib import Path

import pytest
from instruments.bank_cards import answer, badges, entries, press, shown
from instruments.sessions import save, segments, turns

from devtools.browser.bench import Bench

CARDS = ".memv2v-bank .memv2v-card:not([hidden])"
FIELD = ".memv2v-session-input"
OPTIONS = ".memv2v-session-option"
MOST_CARDS = 60
SLOWEST_MS = 200


@pytest.fixture(scope="session")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a session of a thousand segments, made once for all stages."""
    return save(segments(1000), tmp_path_factory.mktemp("sessions"), "thousand")


@pytest.fixture
def root(bench: Bench) -> Path:
    """The folder of all sessions of the bench's server, empty."""
    folder = bench.server.base_dir / "output" / "memory_v2v"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def test_a_card_pinned_without_a_run_is_pinned_on_disk_and_after_a_reload(
    bench: Bench, root: Path
) -> None:
    folder = save(segments(30), root, "forest")
    node = bench.add("MemoryCache", (60, 60), session="forest")
    shown(bench)("30 turns")
    press(bench, 7, "pin")
    bench.wait_until("() => document.querySelector('.memv2v-badge-pinned')")
    assert [i + 1 for i, entry in enumerate(entries(folder)) if entry.is_pinned] == [7]
    assert bench.server.api.get("/queue") == {"queue_running": [], "queue_pending": []}
    # The newest segment saw the one before it at 1x2x2 and the first one at 1x4x4.
    assert not bench.problems
    saved = bench.saved()
    bench.reload()
    bench.open_workflow(saved)
    shown(bench)("30 turns")
    assert bench.widget(node, "session") == "forest"
    assert badges(bench, 1) == "by 30 at 1x4x4"
    bench.evaluate("() => { document.querySelector('.memv2v-grid').scrollTop = 66 * 6 }")
    bench.wait_until("() => document.querySelector('.memv2v-badge-pinned')")
    assert badges(bench, 7).startswith("pinned")


def test_forget_asks_and_marks_what_saw_it(bench: Bench, root: Path) -> None:
    folder = save(segments(5), root, "forest")
    bench.add("MemoryCache", (60, 60), session="forest")
    shown(bench)("5 turns")
    press(bench, 3, "forget")
    answer(bench, "Cancel")
    assert len(entries(folder)) == 5
    press(bench, 3, "forget")
    answer(bench, "Delete")
    shown(bench)("4 turns")
    assert [entry.turn for entry in entries(folder)] == [1, 2, 4, 5]
    press(bench, 4, "pin")
    bench.wait_until("() => document.querySelector('.memv2v-badge-pinned')")
    assert badges(bench, 4).split("\n")[:2] == ["pinned", "stale"]


def test_branch_redo_and_takeover(bench: Bench, root: Path) -> None:
    save(segments(5), root, "forest")
    node = bench.add("MemV2VEditLongVideo", (60, 60), session="forest")
    bench.show_all()
    shown(bench)("5 turns")
    press(bench, 4, "redo")
    press(bench, 2, "redo")
    assert bench.widget(node, "redo") == "2, 4"
    press(bench, 4, "redo")
    assert bench.widget(node, "redo") == "2"
    press(bench, 3, "source")
    graph = bench.evaluate(
        """() => app.graph.nodes.map((node) => [node.type, node.widgets?.map((w) => w.value),
          node.inputs.filter((input) => input.link != null).map((input) => input.name)])"""
    )
    held = {kind: (values, linked) for kind, values, linked in graph}
    assert held.keys() == {"MemV2VEditLongVideo", "MemoryCache", "MemV2VRecallTurn"}
    recalled = entries(root / "forest")[2].entry_id[:8]
    assert held["MemoryCache"][0][0] == "forest"
    assert (held["MemV2VRecallTurn"][0][:2], held["MemV2VRecallTurn"][1]) == (
        [0, recalled],
        ["cache"],
    )
    # A second card takes the place of the first.
    press(bench, 4, "source")
    assert bench.evaluate("() => app.graph.nodes.length") == 3
    press(bench, 2, "branch")
    answer(bench, "Confirm", "twig")
    bench.wait_until("(id) => app.graph.getNodeById(id).widgets[0].value === 'twig'", node)
    assert [entry.turn for entry in entries(root / "twig")] == [1, 2]
    assert len(entries(root / "forest")) == 5
    assert not bench.problems


def test_a_thousand_cards_scroll(bench: Bench, root: Path, thousand: Path) -> None:
    shutil.copytree(thousand, root / "thousand")
    bench.add("MemoryCache", (60, 60), session="thousand")
    shown(bench)("1000 turns")
    drawn, frames, most, last = bench.evaluate(
        """async () => {
          const grid = document.querySelector('.memv2v-grid');
          const frame = () => new Promise(requestAnimationFrame);
          const drawn = [], frames = [];
          let most = 0;
          await frame();
          for (let step = 1; step <= 20; step += 1) {
            const asked = performance.now();
            let started = 0;
            requestAnimationFrame(() => { started = performance.now(); });
            grid.scrollTop = (grid.scrollHeight * step) / 20;
            grid.dispatchEvent(new Event('scroll'));
            // After the list's own callback of the same frame; the height asks for the layout.
            await frame();
            void document.body.offsetHeight;
            drawn.push(performance.now() - started);
            await frame();
            frames.push((performance.now() - asked) / 2);
            most = Math.max(most, grid.querySelectorAll('.memv2v-card').length);
          }
          return [drawn, frames, most, grid.innerText.includes('Segment 1000')];
        }"""
    )
    print(f"drawn within {max(drawn):.1f} ms, frames of {max(frames):.0f} ms, {most} cards")
    assert most <= MOST_CARDS
    assert last
    # What the page needs of a frame until the list is laid out. Two of twenty may be late, where
    # other programs take the processor.
    assert sorted(drawn)[-3] < SLOWEST_MS


def test_the_keyboard_reaches_every_card_and_button(bench: Bench, root: Path) -> None:
    folder = save(turns(12), root, "kitchen")
    bench.add("MemoryCache", (60, 60), session="kitchen")
    shown(bench)("12 turns")
    bench.page.locator(CARDS).first.focus()
    for key in ("End", "ArrowUp", "Enter", "ArrowRight", "ArrowLeft", "Enter"):
        bench.page.keyboard.press(key)
    bench.wait_until("() => document.querySelector('.memv2v-badge-pinned')")
    assert [entry.turn for entry in entries(folder) if entry.is_pinned] == [11]
    bench.page.keyboard.press("Escape")
    label = bench.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert label.startswith("Turn 11, pan right 20")
    assert "Pinned" in label


def test_sessions_come_in_a_list_and_a_new_name_can_be_typed(bench: Bench, root: Path) -> None:
    save(turns(2), root, "kitchen")
    save(segments(3), root, "forest")
    node = bench.add("MemoryCache", (60, 60))
    bench.settle()
    field = bench.page.locator(FIELD)
    field.click()
    bench.page.keyboard.press("ArrowDown")
    bench.wait_until("(found) => document.querySelectorAll(found).length === 2", OPTIONS)
    listed = bench.page.locator(OPTIONS).all_inner_texts()
    assert [text.split()[0] for text in listed] == ["forest", "kitchen"]
    assert "3 turns" in listed[0]
    bench.page.keyboard.press("ArrowDown")
    bench.page.keyboard.press("Enter")
    assert bench.widget(node, "session") == "kitchen"
    shown(bench)("2 turns")
    # A name that the server refuses says so at once; a new one is fine.
    field.fill("no/path")
    bench.page.locator(".memv2v-session-why").wait_for()
    assert "choose a name like 'kitchen_01'" in bench.page.inner_text(".memv2v-session-why")
    field.fill("attic")
    bench.wait_until(
        "() => document.querySelector('.memv2v-session-hint').innerText === 'a new session'"
    )
    bench.page.keyboard.press("Escape")
    assert bench.page.locator(".memv2v-session-list").count() == 0
    # What is saved and sent is the text alone, in its old place.
    saved = bench.saved()["nodes"][0]["widgets_values"][0]
    sent = bench.evaluate(
        "async (id) => (await app.graphToPrompt()).output[id].inputs.session", node
    )
    assert (saved, sent) == ("attic", "attic")


def test_an_old_workflow_and_a_link_bring_the_name(bench: Bench, root: Path) -> None:
    save(turns(2), root, "kitchen")
    bench.open_workflow(
        {
            "last_node_id": 2,
            "last_link_id": 1,
            "version": 0.4,
            "links": [[1, 2, 0, 1, 5, "STRING"]],
            "nodes": [
                {
                    "id": 1,
                    "type": "MemoryCache",
                    "pos": [400, 60],
                    "size": [320, 400],
                    "flags": {},
                    "order": 1,
                    "mode": 0,
                    "inputs": [
                        {"name": "cache", "type": "MEMV2V_CACHE", "link": None},
                        {"name": "latent", "type": "LATENT", "link": None},
                        {"name": "camera", "type": "MEMV2V_CAMERA", "link": None},
                        {"name": "model", "type": "MODEL", "link": None},
                        {"name": "source", "type": "LATENT", "link": None},
                        {
                            "name": "session",
                            "type": "STRING",
                            "link": 1,
                            "widget": {"name": "session"},
                        },
                    ],
                    "outputs": [],
                    "properties": {},
                    "widgets_values": ["forest", "pin", "ab12"],
                },
                {
                    "id": 2,
                    "type": "PrimitiveString",
                    "pos": [60, 60],
                    "size": [270, 60],
                    "flags": {},
                    "order": 0,
                    "mode": 0,
                    "inputs": [],
                    "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}],
                    "properties": {},
                    "widgets_values": ["kitchen"],
                },
            ],
        }
    )
    assert [bench.widget(1, name) for name in ("session", "action", "entry")] == [
        "forest",
        "pin",
        "ab12",
    ]
    shown(bench)("kitchen")
    sent = bench.evaluate("async () => (await app.graphToPrompt()).output[1].inputs.session")
    assert sent == ["2", 0]


def test_the_sidebar_shows_any_session(bench: Bench, root: Path) -> None:
    save(turns(3), root, "kitchen")
    save(segments(40), root, "forest")
    bench.page.get_by_role("button", name="Memory Bank").first.click()
    bench.page.locator(".memv2v-bank-choice").select_option("kitchen")
    shown(bench)("kitchen \u00b7 3 turns")
    bench.page.locator(".memv2v-bank-choice").select_option("forest")
    shown(bench)("40 turns")
    # The list scrolls inside the sidebar.
    assert bench.page.locator(CARDS).count() < 40
    bench.page.get_by_role("button", name="Memory Bank").first.click()
