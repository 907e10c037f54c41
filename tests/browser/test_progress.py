"""Live progress in the page: moving previews, the filmstrip, a stopped run, and the final video."""

from base64 import b64decode
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageSequence

from devtools.browser.bench import Bench

LINE, TILES = ".memv2v-progress-line", ".memv2v-tile"
NUM_SEGMENTS, STEPS = 3, 4
# Every text of the line and every preview, in the order in which they came. A run that is fast
# shows more than a test could look at in time.
WATCH = """() => {
  window.seen = { lines: [], previews: [], tiles: [] };
  const look = () => {
    const line = document.querySelector(".memv2v-progress-line")?.textContent;
    const src = document.querySelector(".memv2v-screen-picture")?.getAttribute("src") ?? "";
    const count = document.querySelectorAll(".memv2v-tile").length;
    const { lines, previews, tiles } = window.seen;
    if (line && lines.at(-1) !== line) { lines.push(line); tiles.push(count); }
    if (src.startsWith("data:") && previews.at(-1) !== src) previews.push(src);
  };
  new MutationObserver(look).observe(document.body, {
    subtree: true, childList: true, characterData: true, attributes: true });
}"""


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


def shows_final_video(bench: Bench) -> bool:
    """Whether ComfyUI's own player on the node has a picture of the finished file."""
    return bench.evaluate(
        """() => [...document.querySelectorAll("video")].some((video) =>
          video.videoWidth === 96 && !video.error && video.src.includes("memory_v2v_")
          && !video.src.includes("piece") && video.checkVisibility())"""
    )


def test_a_run_shows_moving_previews_and_fills_the_filmstrip(
    bench: Bench, edit: Callable[[str], int]
) -> None:
    edit("live")
    bench.evaluate(WATCH)
    bench.run()
    # The server is done a moment before the page hears of it.
    bench.wait_until("() => window.seen.lines.at(-1)?.startsWith('Finished')")
    seen = bench.evaluate("() => window.seen")

    pictures = [Image.open(BytesIO(b64decode(url.partition(",")[2]))) for url in seen["previews"]]
    assert len(pictures) >= 2
    for picture in pictures:
        frames = [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(picture)]
        assert len(set(frames)) >= 2
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
    bench.wait_until("() => document.querySelectorAll('video').length > 1")
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
    edit("live")
    bench.set_setting("Comfy.Execution.PreviewMethod", "latent2rgb")
    try:
        bench.run()
    finally:
        bench.set_setting("Comfy.Execution.PreviewMethod", "default")
    bench.page.wait_for_timeout(1000)
    assert shows_final_video(bench)
    assert "failed to load" not in bench.page_text()
