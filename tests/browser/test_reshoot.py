"""Re-shooting from an empty canvas: by one node, and by blueprints from the node library."""

from typing import Any

import pytest

from devtools.browser.bench import Bench

STEPS, SIDE = 2, 64


def report_of(item: dict[str, Any], node_id: int | str) -> str:
    return item["outputs"][str(node_id)]["text"][0]


def placed_by_search(bench: Bench, name: str) -> int:
    """The id of a new node, found by its name in the page's search and placed on the canvas."""
    before = set(bench.evaluate("() => app.graph.nodes.map((node) => node.id)"))
    bench.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    bench.wait_until("() => document.activeElement?.matches('input')")
    bench.page.keyboard.type(name)
    # The first result is the node with this very name. The page waits for the last key.
    bench.wait_until("(name) => document.body.innerText.includes(name)", name)
    bench.page.wait_for_timeout(500)
    bench.page.keyboard.press("Enter")
    bench.wait_until("(count) => app.graph.nodes.length > count", len(before))
    # Nodes 2.0 lets a new node follow the pointer until a click.
    bench.page.mouse.click(640, 300)
    (new,) = set(bench.evaluate("() => app.graph.nodes.map((node) => node.id)")) - before
    return new


def test_two_paths_from_an_empty_canvas_take_four_nodes_and_the_first_press(bench: Bench) -> None:
    scene = bench.add("MemV2VDemoScene", (0, 60), size=SIDE)
    loader = bench.add("LoadMemoryV2VModel", (0, 320))
    shoot = bench.add("MemV2VReshootVideo", (380, 60), steps=STEPS)
    save = bench.add("SaveVideo", (860, 60))
    bench.connect(scene, "frames", shoot, "images")
    bench.connect(loader, "model", shoot, "model")
    bench.connect(loader, "vae", shoot, "vae")
    bench.connect(shoot, "videos", save, "video")

    item = bench.run()
    assert "2 turns: 2 new, 0 kept, 0 stale" in report_of(item, shoot)
    assert len(item["outputs"][str(save)]["images"]) == 2

    # Written in another quality, so that the node runs again.
    bench.set_widget(shoot, "crf", 20)
    assert "2 turns: 0 new, 2 kept, 0 stale" in report_of(bench.run(), shoot)
    assert not bench.problems


def test_sockets_for_cameras_grow(bench: Bench) -> None:
    shoot = bench.add("MemV2VReshootVideo", (380, 60))
    cameras = [bench.add("MemV2VCameraTrajectory", (0, y)) for y in (60, 560)]
    for number, camera in enumerate(cameras, 1):
        bench.connect(camera, "camera", shoot, f"cameras.camera_{number}")
    prompt = bench.evaluate("async () => (await app.graphToPrompt()).output")
    given = {k: v for k, v in prompt[str(shoot)]["inputs"].items() if k.startswith("cameras.")}
    assert given == {
        f"cameras.camera_{number}": [str(camera), 0] for number, camera in enumerate(cameras, 1)
    }
    names = bench.evaluate("(id) => app.graph.getNodeById(id).inputs.map((one) => one.name)", shoot)
    assert "cameras.camera_3" in names


@pytest.mark.parametrize(
    ("name", "clip", "widgets", "outcome"),
    [
        # Another scene than above: its turns would be kept.
        ("Re-shoot a clip", "MemV2VDemoScene", {"scene": 4, "size": SIDE}, "2 turns: 2 new"),
        (
            "Edit a long clip",
            "MemV2VDemoLongVideo",
            {"num_frames": 12, "size": 48},
            "2 segments: 2 new",
        ),
    ],
)
def test_a_blueprint_runs_when_it_gets_a_clip(
    bench: Bench, name: str, clip: str, widgets: dict, outcome: str
) -> None:
    blueprint = placed_by_search(bench, name)
    source = bench.add(clip, (-400, 60), **widgets)
    bench.connect(source, "frames", blueprint, "images")
    bench.set_widget(blueprint, "steps", STEPS)
    item = bench.run()
    # The nodes inside have ids that begin with the id of the box.
    inside = [
        report_of(item, node_id)
        for node_id, output in item["outputs"].items()
        if node_id.startswith(f"{blueprint}:") and "animated" in output
    ]
    assert len(inside) == 1
    assert inside[0].startswith(outcome)
    assert not bench.problems


# Presses the first tile the moment the line names turn 2; notes the line when its video is there.
PRESS_TURN_1_AT_TURN_2 = """() => {
  const line = () => document.querySelector(".memv2v-progress-line")?.textContent ?? "";
  window.pressed = null;
  new MutationObserver(() => {
    if (window.pressed || !line().includes("turn 2 of 2")) return;
    const tiles = [...document.querySelectorAll(".memv2v-tile")];
    const share = document.querySelector(".memv2v-progress-bar").value;
    window.pressed = { tiles: tiles.map((tile) => tile.dataset.number), share };
    tiles[0]?.click();
    document.querySelector(".memv2v-screen-video").addEventListener(
      "loadeddata", () => { window.pressed.line = line(); }, { once: true });
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def test_turn_1_can_be_played_before_turn_2_has_made_progress(bench: Bench) -> None:
    scene = bench.add("MemV2VDemoScene", (0, 60), scene=5, size=SIDE)
    loader = bench.add("LoadMemoryV2VModel", (0, 320))
    # Long enough for the page to load a video while turn 2 is sampled.
    shoot = bench.add("MemV2VReshootVideo", (380, 60), steps=20)
    bench.connect(scene, "frames", shoot, "images")
    bench.connect(loader, "model", shoot, "model")
    bench.connect(loader, "vae", shoot, "vae")
    bench.evaluate(PRESS_TURN_1_AT_TURN_2)
    bench.run()
    pressed = bench.evaluate("() => window.pressed")
    assert pressed["tiles"] == ["1"]
    # Turn 1 is half of the run; a step of turn 2 is 0.025 of it.
    assert 0.5 <= pressed["share"] < 0.54
    assert "turn 2 of 2" in pressed["line"]
