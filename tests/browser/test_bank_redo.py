"""Redo in the Memory Bank: another take at each press, of the node that made the card."""

import shutil
from pathlib import Path

import pytest
from instruments.bank_cards import CARD, badges, entries, open_tab, press, redo_of, shown
from instruments.sessions import save, segment_entry, turn_entry

from devtools.browser.bench import Bench
from memv2v_core.cache.memory_cache import MemoryCache


@pytest.fixture
def root(bench: Bench) -> Path:
    """The folder of all sessions of the bench's server, empty."""
    folder = bench.server.base_dir / "output" / "memory_v2v"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def test_each_press_of_redo_makes_another_take(bench: Bench, root: Path) -> None:
    scene = bench.add("MemV2VDemoScene", (0, 60), scene=6, size=64)
    loader = bench.add("LoadMemoryV2VModel", (0, 320))
    shoot = bench.add(
        "MemV2VReshootVideo", (380, 60), session="bank_takes", paths="pan_left 30", steps=1
    )
    bench.connect(scene, "frames", shoot, "images")
    bench.connect(loader, "model", shoot, "model")
    bench.connect(loader, "vae", shoot, "vae")
    bench.show_all()
    takes = []
    for number in range(1, 4):
        bench.run()
        takes.append(tuple(entry.entry_id for entry in entries(root / "bank_takes")))
        bench.wait_until(f"(id) => ({CARD})(1)?.dataset.entry === id", takes[-1][0])
        # The take is made: nothing is left to do.
        assert (badges(bench, 1), redo_of(bench, 1)[0]) == ("", "off")
        if number == 3:
            break
        press(bench, 1, "redo")
        bench.settle()
        assert (badges(bench, 1), redo_of(bench, 1)[0]) == ("redo", "on")
        assert (bench.widget(shoot, "redo"), bench.widget(shoot, "redo_seed")) == ("1", number)
    assert [len(ids) for ids in takes] == [1, 1, 1]
    assert len(set(takes)) == 3
    assert not bench.problems


def test_redo_keeps_other_takes_and_no_seed_repeats_one(bench: Bench, root: Path) -> None:
    """Turns 1 and 2 are takes of seed 1, turn 3 is one of seed 2, and turn 4 is left over."""
    texts = enumerate(("re-shoot a redo 1", "re-shoot a redo 1", "re-shoot a redo 2", "re-shoot a"))
    reshot = tuple(turn_entry(i + 1, recipe=text, seed=50) for i, text in texts)
    save(MemoryCache("built-in: tiny", reshot), root, "bank_kept")
    shoot = bench.add(
        "MemV2VReshootVideo",
        (60, 60),
        session="bank_kept",
        paths="pan_left 5; pan_left 6\npan_left 7;",
        redo="1, 2",
    )
    bench.show_all()
    shown(bench)("4 turns")

    def asked() -> tuple[str, int]:
        bench.settle()
        return bench.widget(shoot, "redo"), bench.widget(shoot, "redo_seed")

    # What is made already needs no badge, and stays in the field as it is.
    assert [badges(bench, number) for number in (1, 2)] == ["", ""]
    press(bench, 3, "redo")
    assert asked() == ("1, 2, 3", 1)
    press(bench, 3, "redo")
    assert asked() == ("1, 2", 1)
    press(bench, 3, "redo")
    # Another take of turn 1: not by seed 2, which would keep turn 3, nor by the run's own seed.
    bench.set_widget(shoot, "seed", 3)
    press(bench, 1, "redo")
    assert asked() == ("1, 3", 4)
    assert [badges(bench, number) for number in (1, 2, 3)] == ["redo", "", "redo"]
    press(bench, 1, "redo")
    assert asked() == ("3", 4)

    # A number that the run does not have would end it; where it was typed, a press takes it out.
    assert redo_of(bench, 4) == ("disabled", "Left over: Re-shoot Video makes 3 now")
    press(bench, 4, "redo")
    assert asked() == ("3", 4)
    bench.set_widget(shoot, "redo", "4")
    bench.settle()
    assert (badges(bench, 4), redo_of(bench, 4)[0]) == ("redo", "on")
    press(bench, 4, "redo")
    assert asked() == ("", 4)
    assert not bench.problems


def test_redo_marks_cards_of_the_node_that_makes_them(bench: Bench, root: Path) -> None:
    """One session of two nodes, seen in Memory Cache and in the sidebar."""
    cards = (
        turn_entry(1),
        turn_entry(2, recipe="re-shoot a"),
        segment_entry(3),
        segment_entry(2),
    )
    save(MemoryCache("built-in: tiny", cards), root, "bank_shared")
    bench.add("MemoryCache", (60, 60), session="bank_shared")
    bench.show_all()
    shown(bench)("4 turns")
    assert redo_of(bench, "Turn 1") is None
    wanted = "Redo needs {} with session bank_shared in this workflow"
    assert redo_of(bench, "Turn 2") == ("disabled", wanted.format("Re-shoot Video"))
    assert redo_of(bench, "Segment 2") == ("disabled", wanted.format("Edit Long Video"))

    edit = bench.add("MemV2VEditLongVideo", (460, 60), session="bank_shared")
    other = bench.add("MemV2VReshootVideo", (860, 60), session="elsewhere")
    bench.wait_until(
        f"(name) => ({CARD})(name).querySelector('[aria-disabled=false]')", "Segment 2"
    )
    press(bench, "Segment 2", "redo")
    assert bench.widget(edit, "redo") == "2"
    bench.settle()
    assert (badges(bench, "Segment 2"), badges(bench, "Turn 2")) == ("redo", "")
    assert redo_of(bench, "Turn 2")[0] == "disabled"

    bench.set_widget(other, "session", "bank_shared")
    open_tab(bench, "bank_shared")
    bench.page.locator(
        ".memv2v-bank-tab .memv2v-card[aria-label^='Turn 2'] [data-action=redo]"
    ).click()
    assert (bench.widget(other, "redo"), bench.widget(edit, "redo")) == ("2", "2")
    bench.page.locator(
        ".memv2v-bank-tab .memv2v-card[aria-label^='Segment 3'] [data-action=redo]"
    ).click()
    assert (bench.widget(other, "redo"), bench.widget(edit, "redo")) == ("2", "2, 3")
    # What the run gets from another node is not changed here.
    text = bench.add("PrimitiveString", (60, 500))
    bench.connect(text, "STRING", other, "redo")
    bench.wait_until(
        "() => document.querySelector(\".memv2v-bank-tab [aria-label^='Turn 2']"
        " [data-action=redo]\").title === 'Redo is set by a link into Re-shoot Video'"
    )
    open_tab(bench, "")
    assert not bench.problems
