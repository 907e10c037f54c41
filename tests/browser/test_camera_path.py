"""The camera path editor in the page: what is dragged is what the model gets, without a run."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from instruments.sessions import save, turns

from devtools.browser.bench import Bench
from memv2v_core.cameras.formats.reading.poses import opencv_from_opengl
from memv2v_core.cameras.keyframe_text import parse_keyframes
from memv2v_core.cameras.keyframes import keyframed_trajectory
from memv2v_core.cameras.trajectory import lens_intrinsics
from memv2v_core.retrieval.video_fov import video_fov_scores

NODE = "MemV2VCameraTrajectory"
MAP = ".memv2v-path-map"
KEYS = f"{MAP} .memv2v-path-key"
LARGE = "dialog.memv2v-path-large"
SESSION = "camera_path_turns"
NUM_TURNS = 4
# Outlines follow the handle within this time: one of some drags must show it, as other tests share
# the machine.
REDRAWN_MS, MOST_DRAGS = 200, 12


class Editor(NamedTuple):
    """A Camera Trajectory in view, with the session of a Memory Cache near it."""

    bench: Bench
    node: int
    prompts: list[str]

    @property
    def text(self) -> str:
        return self.bench.widget(self.node, "keyframes")

    @property
    def keyframes(self) -> list[dict[str, Any]]:
        return json.loads(self.text)["keyframes"]

    def drag(self, key: int, dx: float, dy: float) -> None:
        """Drag a keyframe of the map by screen px, and wait until the server has answered."""
        self.bench.page.locator(KEYS).nth(key).hover()
        box = self.bench.page.locator(KEYS).nth(key).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse = self.bench.page.mouse
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + dx, y + dy, steps=5)
        mouse.up()
        self.settle()

    def settle(self) -> None:
        self.bench.settle()
        self.bench.wait_until("() => document.querySelector('.memv2v-path').ariaBusy === 'false'")

    def degrees_per_px(self) -> float:
        return self.bench.evaluate(
            """(map) => {
              const drawn = document.querySelector(`${map} svg`);
              return drawn.viewBox.baseVal.width / drawn.getBoundingClientRect().width;
            }""",
            MAP,
        )

    def chips(self) -> list[str]:
        return self.bench.evaluate(
            "() => [...document.querySelectorAll('.memv2v-path-chip')].map((chip) => chip.value)"
        )

    def num_nodes(self) -> int:
        return self.bench.evaluate("() => app.graph.nodes.length")


@pytest.fixture
def editor(bench: Bench) -> Editor:
    save(turns(NUM_TURNS), bench.server.base_dir / "output" / "memory_v2v", SESSION)
    prompts: list[str] = []

    def heard(request: Any) -> None:
        if request.method == "POST" and request.url.endswith("/prompt"):
            prompts.append(request.url)

    bench.page.on("request", heard)
    node = bench.add(NODE, (100, 60), motion="pan_right", amplitude=30.0)
    cache = bench.add("MemoryCache", (520, 60), session=SESSION)
    retrieve = bench.add("VideoFOVRetrieve", (900, 60))
    bench.connect(node, "camera", retrieve, "camera")
    bench.connect(cache, "cache", retrieve, "cache")
    bench.wait_until("(keys) => document.querySelectorAll(keys).length === 2", KEYS)
    opened = Editor(bench, node, prompts)
    # Links made by a script are seen when the pointer comes.
    bench.page.mouse.move(5, 790)
    bench.page.locator(MAP).hover()
    bench.wait_until(
        "(count) => document.querySelectorAll('.memv2v-path-chip').length === count", NUM_TURNS
    )
    opened.settle()
    yield opened
    bench.page.remove_listener("request", heard)


def redraw_ms(editor: Editor, dx: float) -> float:
    """Milliseconds from the move of a handle to the new outline on the screen."""
    editor.bench.evaluate(
        """(map) => {
          const outline = document.querySelector(`${map} .memv2v-path-seen`);
          window.memv2vRedraw = { moved: 0, took: null };
          const moved = (event) => {
            if (event.buttons) window.memv2vRedraw.moved ||= performance.now();
          };
          addEventListener("pointermove", moved, true);
          new MutationObserver((changes, observer) => {
            const { moved: at } = window.memv2vRedraw;
            if (!at) return;
            observer.disconnect();
            removeEventListener("pointermove", moved, true);
            requestAnimationFrame(() => (window.memv2vRedraw.took = performance.now() - at));
          }).observe(outline, { attributes: true, attributeFilter: ["d"] });
        }""",
        MAP,
    )
    editor.drag(1, dx, 0)
    editor.bench.wait_until("() => window.memv2vRedraw.took !== null")
    return editor.bench.evaluate("() => window.memv2vRedraw.took")


def test_a_dragged_keyframe_turns_the_path_by_the_matching_degrees(editor: Editor) -> None:
    assert editor.text == ""
    scale = editor.degrees_per_px()
    editor.drag(1, 40, -16)
    first, second = editor.keyframes
    # The preset's own keyframes, of which one was moved.
    assert first == {"time": 0}
    assert second["yaw_deg"] == pytest.approx(30 + 40 * scale, abs=0.02)
    assert second["pitch_deg"] == pytest.approx(16 * scale, abs=0.02)
    took = [redraw_ms(editor, -8)]
    while took[-1] >= REDRAWN_MS and len(took) < MOST_DRAGS:
        took.append(redraw_ms(editor, 8 if len(took) % 2 else -8))
    print(f"outlines redrawn after {[round(ms) for ms in took]} ms")
    assert took[-1] < REDRAWN_MS
    assert editor.prompts == []
    assert not editor.bench.problems


def test_scores_of_turns_are_those_of_a_retrieval(editor: Editor) -> None:
    editor.drag(1, 20, 20)
    path = keyframed_trajectory(parse_keyframes(editor.text), 9, lens_intrinsics(60.0, 1.0))
    scores = video_fov_scores(path, [entry.true_camera for entry in turns(NUM_TURNS).entries])
    ranked = sorted(
        ((found.score, number + 1) for number, found in enumerate(scores)), reverse=True
    )
    editor.bench.wait_until(
        "(first) => document.querySelector('.memv2v-path-chip')?.value === first",
        f"turn {ranked[0][1]} ({ranked[0][0]:.2f})",
    )
    assert editor.chips() == [f"turn {number} ({score:.2f})" for score, number in ranked]
    assert (
        editor.bench.evaluate("() => document.querySelectorAll('.memv2v-path-turn').length")
        == NUM_TURNS
    )


def test_keys_move_and_undo_without_touching_the_graph(editor: Editor) -> None:
    page, count = editor.bench.page, editor.num_nodes()
    page.locator(KEYS).nth(1).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    assert editor.keyframes[1] == {"time": 1, "yaw_deg": 29, "pitch_deg": 10}
    page.keyboard.press("Insert")
    assert len(editor.keyframes) == 3
    page.keyboard.press("Control+z")
    assert len(editor.keyframes) == 2
    # Down to the preset, and no further: the graph keeps its nodes.
    for _ in range(4):
        page.keyboard.press("Control+z")
    editor.bench.page.wait_for_timeout(100)
    assert editor.text == ""
    assert editor.num_nodes() == count
    for _ in range(3):
        page.keyboard.press("Control+Shift+z")
    assert len(editor.keyframes) == 3
    page.keyboard.press("Delete")
    assert len(editor.keyframes) == 2
    assert not editor.bench.problems


def test_the_large_editor_opens_edits_and_closes(editor: Editor) -> None:
    page = editor.bench.page
    page.locator(KEYS).nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{LARGE}[open]")
    yaw = page.locator(LARGE).get_by_label("pan right")
    yaw.fill("-45.5")
    yaw.press("Tab")
    assert editor.keyframes[1]["yaw_deg"] == -45.5
    page.select_option(f"{LARGE} .memv2v-path-bar select", "orbit_left")
    editor.bench.wait_until(
        "(id) => app.graph.getNodeById(id).widgets.at(-1).value.includes('orbit_deg')", editor.node
    )
    assert editor.keyframes[1]["orbit_deg"] == -30
    editor.settle()
    handle = page.locator(f"{LARGE} .memv2v-path-plane").nth(0).locator(".memv2v-path-key").nth(1)
    handle.focus()
    page.keyboard.press("ArrowRight")
    # To the right in the picture, which the orbit of 30 degrees to the left turned.
    assert editor.keyframes[1]["truck"] == pytest.approx(0.05 * 0.8660254, abs=1e-4)
    assert editor.keyframes[1]["dolly"] == pytest.approx(0.05 * 0.5, abs=1e-4)
    page.keyboard.press("Escape")
    page.wait_for_selector(LARGE, state="detached")
    assert editor.prompts == []
    assert not editor.bench.problems


def test_the_path_outlives_a_reload_and_a_run_makes_it(editor: Editor) -> None:
    bench = editor.bench
    export = bench.add(
        "MemV2VExportCameraTrajectory", (900, 400), filename_prefix="edited", width=64, height=64
    )
    bench.connect(editor.node, "camera", export, "camera")
    editor.drag(1, -30, 10)
    text = editor.text
    bench.wait_until(
        "(text) => Object.values(localStorage).concat(Object.values(sessionStorage))"
        ".some((held) => held.includes(JSON.stringify(text).slice(1, -1)) ||"
        " held.includes(JSON.stringify(JSON.stringify(text)).slice(3, -3)))",
        text,
    )
    bench.reload()
    bench.wait_until("(keys) => document.querySelectorAll(keys).length === 2", KEYS)
    assert editor.text == text
    sent = bench.evaluate("async () => (await app.graphToPrompt()).output")
    assert sent[str(editor.node)]["inputs"]["keyframes"] == text
    item = bench.run()
    said = item["outputs"][str(export)]["text"][0]
    written = json.loads(Path(said.split(": ", 1)[1]).read_text(encoding="utf-8"))
    matrices = torch.tensor(
        [frame["transform_matrix"] for frame in written["frames"]], dtype=torch.float64
    )
    expected = keyframed_trajectory(parse_keyframes(text), 9, lens_intrinsics(60.0, 1.0))
    assert torch.allclose(opencv_from_opengl(matrices), expected.c2w, atol=1e-9)
