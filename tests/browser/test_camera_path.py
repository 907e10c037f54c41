"""The camera path editor in the page: what is dragged is what the model gets, without a run."""

import json
import math
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from instruments.path_editor import (
    FOV_DEG,
    KEYS,
    LARGE,
    MAP,
    NUM_FRAMES,
    PLANE,
    Editor,
    screen_place,
)
from instruments.sessions import save, turns
from PIL import Image

from devtools.browser.bench import Bench
from memv2v_core.cameras.formats.reading.poses import opencv_from_opengl
from memv2v_core.cameras.keyframe_text import parse_keyframes
from memv2v_core.cameras.keyframes import path_times
from memv2v_core.retrieval.video_fov import VideoFovConfig, video_fov_scores

NODE = "MemV2VCameraTrajectory"
SESSION = "camera_path_turns"
SPEED = f"{LARGE} .memv2v-path-speed"
NUM_TURNS, SIDE = 4, 64
# Outlines follow the handle within this time, in most of some drags.
REDRAWN_MS, NUM_DRAGS = 200, 7


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
    took = [redraw_ms(editor, 8 if number % 2 else -8) for number in range(NUM_DRAGS)]
    print(f"outlines redrawn after {[round(ms) for ms in took]} ms")
    assert median(took) < REDRAWN_MS
    assert editor.prompts == []
    assert not editor.bench.problems


def retrieved(editor: Editor, config: VideoFovConfig | None = None) -> list[str]:
    """The chips of the turns as a retrieval for the path ranks them."""
    cameras = [entry.true_camera for entry in turns(NUM_TURNS).entries]
    scores = video_fov_scores(editor.path, cameras, config)
    ranked = sorted(
        ((found.score, number + 1) for number, found in enumerate(scores)), reverse=True
    )
    return [f"turn {number} ({score:.2f})" for score, number in ranked]


def test_scores_of_turns_are_those_of_a_retrieval(editor: Editor) -> None:
    editor.drag(1, 20, 20)
    chips = retrieved(editor)
    editor.bench.wait_until(
        "(first) => document.querySelector('.memv2v-path-chip')?.value === first", chips[0]
    )
    assert editor.chips() == chips
    assert (
        editor.bench.evaluate("() => document.querySelectorAll('.memv2v-path-turn').length")
        == NUM_TURNS
    )


def test_scores_are_those_of_the_retrieval_below_the_path(editor: Editor) -> None:
    """Not those of a default radius: where cameras move, it decides which turn is best."""
    bench = editor.bench
    (retrieve,) = (node for node, kind in bench.node_types().items() if kind == "VideoFOVRetrieve")
    bench.set_widget(editor.node, "motion", "orbit_right")
    # The answer moves the handle; a pointer that presses before it would miss.
    editor.settle()
    editor.drag(1, 20, 20)
    usual = editor.chips()
    for radius, balance in ((4.0, 0.5), (0.5, 1.0)):
        bench.set_widget(retrieve, "radius", radius)
        bench.set_widget(retrieve, "balance", balance)
        bench.page.mouse.move(5, 790)
        bench.page.locator(MAP).hover()
        chips = retrieved(editor, VideoFovConfig(radius=radius, balance=balance))
        bench.wait_until(
            """(chips) => chips.every((chip, idx) =>
              document.querySelectorAll('.memv2v-path-chip')[idx]?.value === chip)""",
            chips,
        )
        assert chips != usual
        said = bench.page.locator(".memv2v-path-chips").first.inner_text()
        assert said.startswith(f"would see, at radius {radius:g}:")
    assert editor.prompts == []
    assert not bench.problems


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
    editor.open_large()
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
    handle = page.locator(PLANE).nth(0).locator(".memv2v-path-key").nth(1)
    handle.focus()
    page.keyboard.press("ArrowRight")
    # To the right in the picture, which the orbit of 30 degrees to the left turned.
    assert editor.keyframes[1]["truck"] == pytest.approx(0.05 * 0.8660254, abs=1e-4)
    assert editor.keyframes[1]["dolly"] == pytest.approx(0.05 * 0.5, abs=1e-4)
    page.keyboard.press("Escape")
    page.wait_for_selector(LARGE, state="detached")
    assert editor.prompts == []
    assert not editor.bench.problems


def test_a_drag_in_a_plane_moves_or_turns_the_camera_as_far_as_the_pointer(editor: Editor) -> None:
    editor.open_large()
    top, side = (editor.bench.page.locator(PLANE).nth(idx) for idx in (0, 1))
    key, pivot = top.locator(".memv2v-path-key").nth(1), top.locator(".memv2v-path-pivot")
    unit = editor.units_per_px(0)
    start, last = editor.pull(key, 40, -30)
    assert abs(last - start - complex(40, 30)) < 1.5
    assert editor.end == pytest.approx([40 * unit, 0, 30 * unit], abs=2e-3)

    # Orbit: the camera goes round the pivot by the pointer's own angle.
    top.get_by_role("button", name="Move").click()
    editor.settle()
    middle, before = screen_place(pivot), complex(editor.end[0], editor.end[2] - 1)
    start, _ = editor.pull(key, 60, -20)
    turn = (start + complex(60, 20) - middle) / (start - middle)
    after = before * turn / abs(turn)
    assert editor.end == pytest.approx([after.real, 0, after.imag + 1], abs=4e-3)
    # To the right of what it circles, and its view turns with it.
    turned_deg = math.degrees(math.atan2(turn.imag, turn.real))
    assert turned_deg > 5
    assert editor.keyframes[1]["orbit_deg"] == pytest.approx(turned_deg, abs=0.3)
    assert editor.keyframes[1]["yaw_deg"] == 30
    unit = editor.units_per_px(0)
    editor.pull(pivot, 0, -25)
    assert json.loads(editor.text)["pivot"] == pytest.approx(1 + 25 * unit, abs=2e-3)

    # A camera that has orbited still follows the pointer, in both planes.
    top.get_by_role("button", name="Orbit", exact=True).click()
    editor.settle()
    (x, y, z), unit = editor.end, editor.units_per_px(0)
    editor.pull(key, -20, 15)
    assert editor.end == pytest.approx([x - 20 * unit, y, z - 15 * unit], abs=2e-3)
    (x, y, z), unit = editor.end, editor.units_per_px(1)
    editor.pull(side.locator(".memv2v-path-key").nth(1), 12, -18)
    assert editor.end == pytest.approx([x, y - 18 * unit, z + 12 * unit], abs=2e-3)
    assert editor.prompts == []
    assert not editor.bench.problems


def test_the_source_lies_under_the_map_in_its_directions(editor: Editor) -> None:
    bench = editor.bench
    scene = bench.add("MemV2VDemoScene", (100, 760), size=SIDE)
    shown = bench.add("PreviewImage", (520, 760))
    bench.connect(scene, "frames", shown, "images")
    bench.connect(scene, "frames", editor.node, "clip")
    file = bench.run()["outputs"][str(shown)]["images"][0]
    bench.wait_until("(map) => document.querySelector(`${map} image`).href.baseVal", MAP)
    editor.open_large()
    picture = bench.page.locator(f"{LARGE} {MAP} image")
    corners = [float(picture.get_attribute(name)) for name in ("x", "y", "width", "height")]
    # Straight ahead, as wide as the lens.
    assert corners == pytest.approx([-FOV_DEG / 2, -FOV_DEG / 2, FOV_DEG, FOV_DEG], abs=0.01)
    drawn = Image.open(BytesIO(b64decode(picture.get_attribute("href").partition(",")[2])))
    first = Image.open(bench.server.base_dir / "temp" / file["subfolder"] / file["filename"])
    focal = 0.5 / math.tan(math.radians(FOV_DEG / 2))
    apart = []
    for yaw_deg in range(-24, 25, 6):
        for pitch_deg in range(-18, 19, 6):
            yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
            x = 0.5 + focal * math.tan(yaw)
            y = 0.5 - focal * math.tan(pitch) / math.cos(yaw)
            right, down = 0.5 + yaw_deg / FOV_DEG, 0.5 - pitch_deg / FOV_DEG
            there = drawn.convert("RGB").getpixel((drawn.width * right, drawn.height * down))
            here = first.convert("RGB").getpixel((x * first.width, y * first.height))
            apart += [abs(one - other) for one, other in zip(there, here, strict=True)]
    print(f"the bent picture differs by {sum(apart) / len(apart):.1f} of 255")
    assert sum(apart) / len(apart) < 8
    assert not bench.problems


def test_time_is_scrubbed_played_and_bent_by_its_handles(editor: Editor) -> None:
    editor.open_large()
    bench, dialog = editor.bench, editor.bench.page.locator(LARGE)
    # The speed curve: a handle goes with the pointer, the other one stays, the line is the path's.
    square = dialog.locator(".memv2v-path-curve").bounding_box()
    corner = complex(square["x"], -square["y"] - square["height"])
    marks = [dialog.locator(".memv2v-path-curve .memv2v-path-mark").nth(idx) for idx in (0, 1)]
    at = [screen_place(mark) - corner for mark in marks]
    editor.pull(marks[0], 30, 12)
    expected = [at[0] + complex(30, -12), at[1]]
    curve = [
        size
        for place in expected
        for size in (place.real / square["width"], max(place.imag / square["height"], 0))
    ]
    assert json.loads(editor.text)["curve"] == pytest.approx(curve, abs=0.01)
    times = path_times(parse_keyframes(editor.text), NUM_FRAMES)
    drawn = editor.drawn(f"{SPEED} .memv2v-path-line")
    assert [x for x, _ in drawn] == pytest.approx([idx / 8 for idx in range(NUM_FRAMES)], abs=1e-3)
    assert [1 - y for _, y in drawn] == pytest.approx(times, abs=1e-3)

    # The scrubber: the frustum on the map is that of the frame's own camera.
    scrubber = dialog.get_by_label("Frame", exact=True)
    middles = []
    for frame in (2, 6):
        scrubber.fill(f"{frame}")
        editor.settle()
        assert dialog.locator(".memv2v-path-count").inner_text() == f"{frame + 1}/{NUM_FRAMES}"
        columns = [x for x, _ in editor.drawn(f"{LARGE} {MAP} .memv2v-path-view")]
        # Drawn three times, one turn apart.
        middles.append((min(columns) + max(columns)) / 2)
        forward = editor.path.c2w[frame, :3, 2]
        yaw_deg = math.degrees(math.atan2(forward[0], forward[2]))
        assert middles[-1] == pytest.approx(yaw_deg, abs=0.1)
    assert middles[1] - middles[0] > 5

    # Play goes through the frames until it is pressed again.
    bench.evaluate("() => { window.memv2vPlayed = new Set() }")
    dialog.get_by_role("button", name="Play the path").click()
    bench.wait_until(
        """(range) => {
          window.memv2vPlayed.add(document.querySelector(range).value);
          return window.memv2vPlayed.size >= 4;
        }""",
        f"{LARGE} .memv2v-path-range",
    )
    dialog.get_by_role("button", name="Pause").click()
    editor.settle()
    stopped = scrubber.input_value()
    bench.page.wait_for_timeout(300)
    assert scrubber.input_value() == stopped

    # A mark brings its keyframe to where it is dropped.
    width = dialog.locator(".memv2v-path-track").bounding_box()["width"]
    mark = dialog.locator(".memv2v-path-marks .memv2v-path-mark").nth(1)
    start, last = editor.pull(mark, -round(width / 4), 0)
    assert abs(last - start + round(width / 4)) < 1.5
    assert editor.keyframes[1]["time"] == pytest.approx(times[6], abs=5e-3)
    assert not bench.problems


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
    assert editor.text == text
    assert torch.allclose(opencv_from_opengl(matrices), editor.path.c2w, atol=1e-9)
