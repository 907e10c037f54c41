"""The camera path editor of a page: its node, what it holds, and how a pointer drags in it."""

import json
import re
from typing import Any, NamedTuple

from devtools.browser.bench import Bench
from memv2v_core.cameras.keyframe_text import parse_keyframes
from memv2v_core.cameras.keyframes import keyframed_trajectory
from memv2v_core.cameras.trajectory import CameraTrajectory, lens_intrinsics

MAP = ".memv2v-path-map"
KEYS = f"{MAP} .memv2v-path-key"
LARGE = "dialog.memv2v-path-large"
PLANE = f"{LARGE} .memv2v-path-plane"
NUM_FRAMES, FOV_DEG = 9, 60.0


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

    @property
    def path(self) -> CameraTrajectory:
        """The cameras that the model gets."""
        lens = lens_intrinsics(FOV_DEG, 1.0)
        return keyframed_trajectory(parse_keyframes(self.text), NUM_FRAMES, lens)

    @property
    def end(self) -> list[float]:
        """Where the last camera stands: to the right, down and forward in pose units."""
        return self.path.c2w[-1, :3, 3].tolist()

    def drag(self, key: int, dx: float, dy: float) -> None:
        """Drag a keyframe of the map by screen px, and wait until the server has answered."""
        self.bench.page.locator(KEYS).nth(key).hover()
        self.pull(self.bench.page.locator(KEYS).nth(key), dx, dy)

    def pull(self, handle: Any, dx: float, dy: float) -> tuple[complex, complex]:
        """Drag any handle as `drag` does; where the pointer took it, and where it stood at last.

        Both are screen px to the right, and upwards as the imaginary part.
        """
        start, mouse = screen_place(handle), self.bench.page.mouse
        mouse.move(start.real, -start.imag)
        mouse.down()
        mouse.move(start.real + dx, dy - start.imag, steps=5)
        self.bench.settle()
        last = screen_place(handle)
        mouse.up()
        self.settle()
        return start, last

    def open_large(self) -> None:
        self.bench.page.locator(KEYS).nth(1).focus()
        self.bench.page.keyboard.press("Enter")
        self.bench.page.wait_for_selector(f"{LARGE}[open]")
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

    def units_per_px(self, plane: int) -> float:
        """Pose units of a screen px in a plane's view, as its grid says them."""
        return self.bench.evaluate(
            """(planes, idx) => {
              const plane = document.querySelectorAll(planes)[idx];
              const [step] = plane.querySelector(".memv2v-path-scale").textContent.match(/[\\d.]+/);
              const grid = plane.querySelector(".memv2v-path-grid").getAttribute("d");
              const [first, second] = [...grid.matchAll(/M([\\d.]+) 0V/g)].map((line) => line[1]);
              return step / ((second - first) * plane.querySelector("svg").getScreenCTM().a);
            }""",
            PLANE,
            plane,
        )

    def drawn(self, path: str) -> list[tuple[float, float]]:
        """The points of a drawn line."""
        line = self.bench.page.locator(path).first.get_attribute("d")
        return [(float(x), float(y)) for x, y in re.findall(r"([-\d.e]+),([-\d.e]+)", line)]

    def chips(self) -> list[str]:
        return self.bench.evaluate(
            "() => [...document.querySelectorAll('.memv2v-path-chip')].map((chip) => chip.value)"
        )

    def num_nodes(self) -> int:
        return self.bench.evaluate("() => app.graph.nodes.length")


def screen_place(handle: Any) -> complex:
    """The middle of a handle in screen px: to the right, and upwards as the imaginary part."""
    box = handle.bounding_box()
    return complex(box["x"] + box["width"] / 2, -box["y"] - box["height"] / 2)
