"""Live progress in the page: moving previews, the filmstrip, a stopped run, and the final video."""

import re
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from instruments.progress_watcher import WATCH
from PIL import Image, ImageSequence

from devtools.browser.bench import Bench

WORKFLOWS = Path(__file__).parents[2] / "workflows"
LINE, TILES = ".memv2v-progress-line", ".memv2v-tile"
NUM_SEGMENTS, STEPS, SIDE = 3, 4, 64
# What turns A, B and C of the workflow retrieve.
SEES = ("no other", "1", "(1 and 2|2 and 1)")


@pytest.fixture
def edit(bench: Bench) -> Callable[[str], int]:
    """Adds Edit Long Video with a demo clip of three segments, for a session; gives its id."""

    def add(session: str) -> int:
        loader = bench.add("LoadMemoryV2VModel", (40, 60), model_name="built-in: text_edit")
        clip = bench.add("MemV2VDemoLongVideo", (40, 360), num_frames=9 * NUM_SEGMENTS)
        edit = bench.add("MemV2VEditLongVideo", (440, 60), steps=STEPS)
        prompt = bench.add("CLIPTextEncode", (40, 760), text="give the house a new colour")
        bench.set_widget(edit, "session", session)
        bench.connect(loader, "clip", prompt, "clip")
        bench.connect(loader, "model", edit, "model")
        bench.connect(loader, "vae", edit, "vae")
        bench.connect(prompt, "CONDITIONING", edit, "positive")
        bench.connect(clip, "frames", edit, "images")
        bench.show_all()
        return edit

    return add


def watched(bench: Bench, count: int = 1) -> list[dict[str, Any]]:
    """What the watcher saw of `count` nodes that ran, when the page has heard of the last end."""
    # The server is done before the page hears of it, and a large graph is slow to draw.
    bench.wait_until(
        """(count) => window.seen.length === count
          && window.seen.every((one) => one.lines.at(-1).startsWith("Finished"))""",
        count,
        patience_s=120,
    )
    return bench.evaluate("() => window.seen")


def require_moving(previews: list[str]) -> None:
    """Assert that every preview is a picture of several different frames."""
    for url in previews:
        picture = Image.open(BytesIO(b64decode(url.partition(",")[2])))
        frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(picture)]
        assert len(set(frames)) >= 2


def play_final_video(bench: Bench) -> None:
    """Play the finished file in ComfyUI's own player on the node, until another moment shows."""
    bench.evaluate("() => { window.watchedPlayer = null }")
    bench.wait_until(
        """() => {
          const player = [...document.querySelectorAll("video")].find((video) =>
            video.videoWidth === 96 && video.src.includes("memory_v2v_")
            && !video.src.includes("piece") && video.checkVisibility());
          if (!player || player.error) return false;
          if (window.watchedPlayer !== player) {
            Object.assign(window, { watchedPlayer: player, watchedFrom: null });
            player.muted = true;
            player.play().then(() => { window.watchedFrom = player.currentTime; });
            return false;
          }
          return window.watchedFrom !== null && player.currentTime > 0
            && player.currentTime !== window.watchedFrom;
        }"""
    )


def test_a_run_shows_moving_previews_and_fills_the_filmstrip(
    bench: Bench, edit: Callable[[str], int]
) -> None:
    edit("live")
    bench.evaluate(WATCH)
    bench.run()
    (seen,) = watched(bench)
    assert len(seen["previews"]) >= 2
    require_moving(seen["previews"])
    lines = seen["lines"]
    assert any("segment 3 of 3, sees 2 and 1, about" in line for line in lines), lines
    assert lines[-1].startswith("Finished, 3 new, in ")
    # A tile the moment a segment ends: k of them after k segments.
    counts = dict(zip(lines, seen["tiles"], strict=True))
    for number in range(1, NUM_SEGMENTS + 1):
        during = [count for line, count in counts.items() if f"segment {number} of 3" in line]
        assert set(during) == {number - 1}
    assert bench.page.locator(TILES).count() == NUM_SEGMENTS
    bench.wait_until("() => [...document.querySelectorAll('.memv2v-tile img')].at(-1).naturalWidth")

    # A tile plays larger, and keys go from tile to tile.
    bench.evaluate("() => document.querySelector('.memv2v-tile').focus()")
    bench.page.keyboard.press("ArrowRight")
    bench.page.keyboard.press("Enter")
    bench.wait_until("() => document.querySelector('.memv2v-screen-video').videoWidth === 96")
    assert bench.page.locator(f"{TILES}[aria-pressed=true]").get_attribute("data-number") == "2"

    # ComfyUI's own player shows the result, and the page that is loaded again shows all of it.
    play_final_video(bench)
    bench.reload()
    bench.page.wait_for_selector(TILES)
    assert bench.page.locator(TILES).count() == NUM_SEGMENTS
    assert bench.page.inner_text(LINE).startswith("Finished")
    assert not bench.problems


def test_a_stopped_run_says_what_is_saved_and_plays_it(
    bench: Bench, edit: Callable[[str], int]
) -> None:
    # Long enough to be stopped in time on a fast machine.
    bench.set_widget(edit("live_stopped"), "steps", 10)
    bench.queue()
    bench.page.wait_for_selector(TILES)
    bench.server.api.post("/interrupt", {})
    bench.wait_until(
        "() => document.querySelector('.memv2v-progress-line')"
        ".textContent.endsWith('are saved, Run continues.')"
    )
    saved = bench.page.locator(TILES).count()
    assert bench.page.inner_text(LINE) == f"{saved} of 3 are saved, Run continues."
    assert 1 <= saved < NUM_SEGMENTS

    bench.evaluate("() => document.querySelector('.memv2v-progress-button').click()")
    bench.wait_until("() => document.querySelector('.memv2v-screen-video').currentTime > 0")
    bench.run()
    badges = bench.page.locator(".memv2v-tile-badge").all_text_contents()
    assert badges == ["kept"] * saved + ["new"] * (NUM_SEGMENTS - saved)


def test_the_video_plays_after_a_run_with_comfyuis_own_preview(
    bench: Bench, edit: Callable[[str], int]
) -> None:
    node = edit("live_native")
    bench.set_setting("Comfy.Execution.PreviewMethod", "latent2rgb")
    try:
        bench.run()
        bench.page.wait_for_timeout(1000)
        play_final_video(bench)
        # Without the pack's preview, of a segment that is made again.
        bench.set_setting("MemoryV2V.Preview", "off")
        bench.set_widget(node, "redo", f"{NUM_SEGMENTS}")
        bench.evaluate(WATCH)
        bench.run()
        (seen,) = watched(bench)
        bench.page.wait_for_timeout(1000)
        play_final_video(bench)
    finally:
        bench.set_setting("MemoryV2V.Preview", "animated")
        bench.set_setting("Comfy.Execution.PreviewMethod", "default")
    assert any(f"segment {NUM_SEGMENTS} of {NUM_SEGMENTS}" in line for line in seen["lines"])
    assert seen["previews"] == []
    assert "failed to load" not in bench.page_text()


def test_turns_of_the_sampler_count_their_steps_and_their_preview_can_be_off(bench: Bench) -> None:
    bench.open_workflow(WORKFLOWS / "multi_turn_novel_view.json")
    types = bench.node_types()
    samplers = [node for node, held in types.items() if held == "MemoryV2VSampler"]
    (scene,) = (node for node, held in types.items() if held == "MemV2VDemoScene")
    bench.set_widget(scene, "size", SIDE)
    for node in samplers:
        bench.set_widget(node, "steps", STEPS)
    bench.evaluate(WATCH)
    bench.run()
    shown = watched(bench, len(SEES))
    for turn in shown:
        assert turn["previews"]
        require_moving(turn["previews"])

    # The same lines without a picture: only the last turn is made again.
    bench.set_setting("MemoryV2V.Preview", "off")
    try:
        bench.set_widget(samplers[-1], "seed", 304)
        bench.evaluate(WATCH)
        bench.run()
        (hidden,) = watched(bench)
    finally:
        bench.set_setting("MemoryV2V.Preview", "animated")
    assert hidden["previews"] == []
    for turn, sees in zip([*shown, hidden], (*SEES, SEES[-1]), strict=True):
        lines = turn["lines"]
        assert lines[0] == "starting"
        assert re.fullmatch(f"starting, sees {sees}", lines[1]), lines
        told = [re.fullmatch(rf"step (\d) of {STEPS}\b.*", line) for line in lines[2:-1]]
        assert all(told), lines
        steps = [int(line[1]) for line in told]
        # The last one is told twice, as sampled and as stored; fast steps are told together.
        assert steps == sorted(steps)
        assert steps[-1] == STEPS
        assert len(set(steps)) >= 2
        assert re.fullmatch(r"Finished, in \d.* (s|min)", lines[-1])
        # One turn has no filmstrip.
        assert set(turn["tiles"]) == {0}
    assert not bench.problems
