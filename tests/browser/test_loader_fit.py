"""The loader's model fits the node behind it, and a node says what it lacks before Run."""

from typing import Any

import pytest

from devtools.browser.bench import Bench

TEXT_EDIT, NOVEL_VIEW = "built-in: text_edit", "built-in: novel_view"
WARNING = """(id) => app.graph.getNodeById(id).widgets
  ?.find((held) => held.name === 'memory_v2v_fit')?.element.textContent ?? ''"""


def says(bench: Bench, node: int, *words: str) -> None:
    """Wait until the warning of a node has these words, or nothing for none."""
    bench.wait_until(
        f"""(id, words) => {{
          const text = ({WARNING})(id);
          return words.length ? words.every((word) => text.includes(word)) : text === '';
        }}""",
        node,
        list(words),
        patience_s=5.0,
    )


@pytest.fixture
def editor(bench: Bench) -> tuple[int, int]:
    """A new loader, linked to a new Edit Long Video."""
    loader = bench.add("LoadMemoryV2VModel", (60, 60))
    edit = bench.add("MemV2VEditLongVideo", (700, 60))
    assert bench.widget(loader, "model_name") == NOVEL_VIEW
    bench.connect(loader, "model", edit, "model")
    return loader, edit


def test_a_bare_edit_runs_on_the_first_press(bench: Bench, editor: tuple[int, int]) -> None:
    loader, edit = editor
    says(bench, edit, TEXT_EDIT, "CLIP Text Encode", "Connect the clip")
    assert bench.widget(loader, "model_name") == TEXT_EDIT
    clip = bench.add("MemV2VDemoLongVideo", (60, 300), num_frames=6)
    prompt = bench.add("CLIPTextEncode", (380, 60), text="put a hat on the red box")
    bench.connect(clip, "frames", edit, "images")
    says(bench, edit, "CLIP Text Encode")
    bench.connect(loader, "clip", prompt, "clip")
    bench.connect(prompt, "CONDITIONING", edit, "positive")
    says(bench, edit)
    bench.connect(loader, "vae", edit, "vae")
    bench.set_widget(edit, "steps", 1)
    outputs = bench.run()["outputs"][str(edit)]
    assert "named after the clip" in outputs["text"][0]
    assert not bench.problems


def test_a_choice_that_does_not_fit_is_said_at_once(bench: Bench, editor: tuple[int, int]) -> None:
    loader, edit = editor
    says(bench, edit, TEXT_EDIT)
    bench.set_widget(loader, "model_name", NOVEL_VIEW)
    says(bench, edit, "reads no words", f"Choose {TEXT_EDIT}")
    bench.show_all()
    line = bench.page.locator(".memv2v-fit").first
    assert line.is_visible()
    # Chosen by hand, it is not changed again.
    bench.connect(loader, "vae", edit, "vae")
    bench.settle()
    assert bench.widget(loader, "model_name") == NOVEL_VIEW
    bench.set_widget(loader, "model_name", TEXT_EDIT)
    says(bench, edit, "CLIP Text Encode")


def test_links_through_reroutes_and_subgraphs_count(bench: Bench) -> None:
    loader = bench.add("LoadMemoryV2VModel", (60, 60))
    reroute = bench.add("Reroute", (400, 60))
    edit = bench.add("MemV2VEditLongVideo", (700, 60))
    bench.evaluate(
        """(loader, reroute, edit) => {
          const [from, over, to] = [loader, reroute, edit].map((id) => app.graph.getNodeById(id));
          from.connect(0, over, 0);
          over.connect(0, to, to.inputs.findIndex((slot) => slot.name === 'model'));
        }""",
        loader,
        reroute,
        edit,
    )
    says(bench, edit, TEXT_EDIT)
    assert bench.widget(loader, "model_name") == TEXT_EDIT
    inner = bench.evaluate(
        """(id) => {
          const { subgraph } = app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)]));
          globalThis.memv2vInner = subgraph.nodes[0];
          return subgraph.nodes.length;
        }""",
        edit,
    )
    assert inner == 1
    bench.set_widget(loader, "model_name", NOVEL_VIEW)
    bench.wait_until(
        """() => memv2vInner.widgets.find((held) => held.name === 'memory_v2v_fit')
          ?.element.textContent.includes('reads no words')"""
    )


def saved(bench: Bench) -> dict[str, Any]:
    """The graph as a file of a version that knew neither folded inputs nor choices."""
    graph = bench.saved()
    for node in graph["nodes"]:
        node.pop("showAdvanced", None)
        node["properties"].pop("memory_v2v_model", None)
    return graph


def test_a_workflow_keeps_the_model_that_it_was_saved_with(
    bench: Bench, editor: tuple[int, int]
) -> None:
    loader, edit = editor
    says(bench, edit, TEXT_EDIT)
    bench.set_widget(loader, "model_name", NOVEL_VIEW)
    bench.open_workflow(saved(bench))
    says(bench, edit, f"Choose {TEXT_EDIT}")
    assert bench.widget(loader, "model_name") == NOVEL_VIEW
