"""Compare Turns in the page: one play head for two videos, a wipe that changes nothing else."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import torch
from instruments.progress_watcher import WATCH
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from devtools.browser.bench import Bench

NODE = "MemV2VCompareTurns"
NUM_FRAMES, RATE = 24, 12.0
PLAYER = "app.graph.nodes.find((node) => node.type === 'MemV2VCompareTurns')?.memoryV2VPlayer"
# A pixel of the grip and of its shadow, left and right of the divider.
GRIP_PX = 12
# Of 255 levels.
ROUNDING = 8


@pytest.fixture
def player(bench: Bench) -> Iterator[Any]:
    """The root of a player of two demo scenes, in view."""
    cache = bench.add("MemoryCache", (900, 40))
    loader = bench.add("LoadMemoryV2VModel", (900, 400))
    compare = bench.add(NODE, (420, 60), frame_rate=RATE)
    for idx, side in enumerate(("first", "second")):
        scene = bench.add(
            "MemV2VDemoScene", (60, 60 + 260 * idx), scene=idx + 1, num_frames=NUM_FRAMES
        )
        bench.connect(scene, "frames", compare, f"{side}_images")
        bench.set_widget(compare, side, "connected frames")
    bench.connect(cache, "cache", compare, "cache")
    bench.connect(loader, "vae", compare, "vae")
    bench.run()
    bench.wait_until(
        f"() => {PLAYER}.head.videos.length > 0 && {PLAYER}.stage.second.readyState > 1"
    )
    yield bench.page.locator(".memv2v-compare")
    # A comparison of the next test would find it.
    bench.evaluate("() => localStorage.removeItem('MemoryV2V.Compare')")


def frames(bench: Bench) -> list[float]:
    """Where both videos stand, in frames."""
    return bench.evaluate(
        f"""(rate) => [{PLAYER}.stage.first, {PLAYER}.stage.second].map(
          (video) => video.currentTime * rate)""",
        RATE,
    )


def picture(bench: Bench) -> torch.Tensor:
    """(3, H, W) uint8 of the player's pictures, once nothing changes any more."""
    bench.wait_until(
        f"""() => [{PLAYER}.stage.first, {PLAYER}.stage.second].every(
          (video) => !video.seeking && video.readyState > 1)"""
    )
    box, last = bench.page.locator(".memv2v-compare-box"), b""
    # A frame that was sought is drawn some time after the browser calls it ready.
    for _ in range(20):
        bench.settle()
        shot = box.screenshot()
        if shot == last:
            break
        last = shot
    return pil_to_tensor(Image.open(BytesIO(last)).convert("RGB"))


def test_both_videos_have_one_play_head(bench: Bench, player: Any) -> None:
    player.focus()
    bench.page.keyboard.press("Space")
    bench.wait_until(f"() => {PLAYER}.stage.first.currentTime > 0.3")
    # Sampled in the page at every drawn frame, until both have begun anew.
    seen = bench.evaluate(
        f"""(rate) => new Promise((done) => {{
          const {{ first, second }} = {PLAYER}.stage;
          const seen = [], start = performance.now();
          const look = () => {{
            const videos = [first, second];
            if (videos.every((video) => !video.paused && !video.seeking)) {{
              seen.push(videos.map((video) => video.currentTime * rate));
            }}
            const isAnew = seen.length > 1 && seen.at(-1)[0] < seen.at(-2)[0];
            const isLate = performance.now() - start > 15000;
            isAnew || isLate ? done(seen) : requestAnimationFrame(look);
          }};
          look();
        }})""",
        RATE,
    )
    assert len(seen) >= 3
    assert seen[-1][0] < seen[-2][0], "the videos did not begin anew"
    assert max(abs(first - second) for first, second in seen) < 1
    bench.page.keyboard.press("Space")
    bench.wait_until(f"() => {PLAYER}.stage.first.paused && !{PLAYER}.stage.second.seeking")
    assert max(frames(bench)) - min(frames(bench)) < 1e-3
    # Steps.
    for key, frame in (("Home", 0), (".", 1), ("ArrowRight", 2), (",", 1), ("End", NUM_FRAMES - 1)):
        bench.page.keyboard.press(key)
        bench.wait_until(f"() => !{PLAYER}.stage.first.seeking && !{PLAYER}.stage.second.seeking")
        assert frames(bench) == pytest.approx([frame + 0.5] * 2, abs=1e-3)
        assert (
            player.locator(".memv2v-compare-counter").inner_text() == f"{frame + 1} / {NUM_FRAMES}"
        )
    for key, mode in (("2", "side"), ("3", "heat"), ("1", "wipe")):
        bench.page.keyboard.press(key)
        pressed = player.locator("[aria-pressed=true]")
        assert pressed.count() == 1
        assert pressed.get_attribute("data-mode") == mode
    bench.page.keyboard.press("]")
    assert player.locator("select").input_value() == "2"
    bench.page.keyboard.press("[")
    assert bench.problems == []


def test_the_wipe_changes_only_pixels_between_its_places(bench: Bench, player: Any) -> None:
    for by in ("keyboard", "drag"):
        _wipe_from_30_to_60(bench, player, by)


def _wipe_from_30_to_60(bench: Bench, player: Any, by: str) -> None:
    box = player.locator(".memv2v-compare-box").bounding_box()
    bench.evaluate(f"() => {PLAYER}.stage.setWipe(30)")
    divider = player.locator(".memv2v-compare-divider")
    divider.focus()
    before = picture(bench)
    if by == "keyboard":
        for _ in range(3):
            bench.page.keyboard.press("PageUp")
    else:
        y = box["y"] + 0.8 * box["height"]
        bench.page.mouse.move(box["x"] + 0.3 * box["width"], y)
        bench.page.mouse.down()
        bench.page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=4)
        bench.page.mouse.up()
    assert int(divider.get_attribute("aria-valuenow")) == pytest.approx(60, abs=1)
    after = picture(bench)
    # A browser that scales a clipped video may round a pixel in another way.
    changes = (before.int() - after.int()).abs().amax((0, 1))
    columns = (changes > ROUNDING).nonzero().flatten()
    width = before.shape[-1]
    assert columns.min() >= 0.3 * width - GRIP_PX
    assert columns.max() <= 0.6 * width + GRIP_PX
    # Between both places the other scene is shown.
    assert len(columns) > 0.25 * width


def test_the_result_is_there_after_a_reload_and_says_when_it_is_gone(
    bench: Bench, player: Any
) -> None:
    bench.reload()
    bench.wait_until(f"() => {PLAYER}?.stage.second.readyState > 1")
    assert player.locator(".memv2v-compare-verdict").inner_text().startswith("first_images and")
    bench.evaluate(
        f"""() => {PLAYER}.load({{ ...{PLAYER}.shown,
          first: {{ filename: "memory_v2v_gone.mp4", subfolder: "", type: "temp" }} }})"""
    )
    message = player.locator(".memv2v-compare-message")
    message.wait_for(state="visible")
    assert "gone since ComfyUI started again" in message.inner_text()


def test_a_turn_beside_itself_without_memory(bench: Bench) -> None:
    """The switch of Re-shoot Video, its progress in words, and the choice in Compare Turns."""
    scene = bench.add("MemV2VDemoScene", (40, 60))
    loader = bench.add("LoadMemoryV2VModel", (40, 380), model_name="built-in: novel_view")
    reshoot = bench.add(
        "MemV2VReshootVideo",
        (420, 60),
        paths="pan_left 30; sweep 30",
        session="compared",
        steps=2,
        also_without_memory=True,
    )
    compare = bench.add(
        NODE, (900, 60), first_turn=2, second="without memory", second_turn=2, all_pairs=False
    )
    for source, name, target, wanted in (
        (loader, "model", reshoot, "model"),
        (loader, "vae", reshoot, "vae"),
        (scene, "frames", reshoot, "images"),
        (reshoot, "cache", compare, "cache"),
        (loader, "vae", compare, "vae"),
    ):
        bench.connect(source, name, target, wanted)
    bench.evaluate(WATCH)
    bench.run()
    bench.wait_until(
        f"() => {PLAYER}.head.videos.length > 0 && {PLAYER}.stage.second.readyState > 1"
    )
    lines = bench.evaluate("() => window.seen.flatMap((one) => one.lines)")
    assert any(line.startswith("turn 2, once more without memory, s") for line in lines), lines
    player = bench.page.locator(".memv2v-compare")
    verdict = player.locator(".memv2v-compare-verdict").inner_text()
    assert verdict.startswith("turn 2 and turn 2 without memory ")
    assert "turn 2 without memory" in player.inner_text()
    assert bench.problems == []
    bench.evaluate("() => localStorage.removeItem('MemoryV2V.Compare')")
