"""A page of ComfyUI in a real browser, as an artist has it open, with what tests do in it."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..server import ComfyServer

Rendering = Literal["classic", "nodes2"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--no-sandbox", "--disable-gpu")
# `app.graph` complains on the console where it is read too early, `app.canvas` does not.
_READY = "() => Boolean(window.app?.canvas?.graph && window.app.extensionManager)"
_SIZE = {"width": 1280, "height": 800}
# ComfyUI runs the outputs that are valid, and names the inputs that held the others back.
_REFUSED = """() => Object.values(app.lastNodeErrors ?? {}).flatMap(
  (node) => node.errors.map((error) => `${node.class_type}: ${error.message} ${error.details}`))"""
# What a page of ComfyUI itself says while it starts, on a machine without network.
_NOT_OURS = (
    "favicon",
    "Failed to load resource",
    "net::ERR_",
    "api.comfy.org",
    "huggingface.co",  # sizes of files that a workflow may need
    "[vite]",
    "WebGL",
    "GPU stall",
    # The pinned frontend's own, at every load.
    "graph accessed before initialization",
)
_OUR_ADDRESSES = ("memory-v2v", "memory_v2v")
_PATIENCE_S = 120.0
_DIALOG = ".p-dialog:visible, [role=dialog]:visible"
_MANY_DIALOGS = 5
# ComfyUI keeps a graph some time after its last change.
_KEPT_MS = 1500


def find_browser() -> str | None:
    """The system's Chromium; None where it has none."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def launch(playwright: Any) -> Any:
    """A headless browser that draws WebGL without a GPU."""
    return playwright.chromium.launch(executable_path=find_browser(), args=list(_ARGUMENTS))


@dataclass(eq=False)
class Bench:
    """ComfyUI's page on a server, in one rendering of nodes.

    problems: what the page wrote as errors and warnings of the pack, and every uncaught error.
    """

    page: Any
    server: ComfyServer
    rendering: Rendering
    problems: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Any, server: ComfyServer, rendering: Rendering) -> "Bench":
        """A new page, ready, with no tutorial or dialog over the canvas."""
        bench = cls(browser.new_page(viewport=_SIZE), server, rendering)
        bench.page.on("console", bench._heard)
        bench.page.on("pageerror", lambda error: bench.problems.append(f"uncaught: {error}"))
        bench.page.set_default_timeout(_PATIENCE_S * 1000)
        bench._load()
        # A first visit offers templates and a tour.
        settings = {
            "Comfy.TutorialCompleted": True,
            "Comfy.InstalledVersion": "1.0.0",
            "Comfy.VueNodes.Enabled": rendering == "nodes2",
            "Comfy.Workflow.Persist": True,
            "Comfy.Validation.Workflows": True,
            "Comfy.Locale": "en",
        }
        for name, value in settings.items():
            bench.set_setting(name, value)
        bench.reload()
        return bench

    def evaluate(self, script: str, *arguments: object) -> Any:
        """What a JavaScript function of these arguments returns in the page."""
        return self.page.evaluate(f"(given) => ({script})(...given)", list(arguments))

    def set_setting(self, name: str, value: object) -> None:
        """Change a setting of ComfyUI, as its dialog does."""
        self.evaluate("(name, value) => app.extensionManager.setting.set(name, value)", name, value)

    def reload(self) -> None:
        """Load the page again, as F5 does; the graph comes back as ComfyUI keeps it."""
        self.page.wait_for_timeout(_KEPT_MS)
        self.page.reload()
        self._ready()

    def clear(self) -> None:
        """An empty canvas, and no remembered problems."""
        self._stop()
        self.page.keyboard.press("Escape")
        for _ in range(_MANY_DIALOGS):
            if not self.page.locator(_DIALOG).count():
                break
            self.page.keyboard.press("Escape")
            self.page.wait_for_timeout(300)
        self.evaluate(
            """async () => {
              const none = { nodes: [], links: [], last_node_id: 0, last_link_id: 0, version: 0.4 };
              await app.loadGraphData(none);
            }"""
        )
        self.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0] }")
        self.problems.clear()

    def open_workflow(self, workflow: Mapping[str, Any] | Path) -> None:
        """Open a workflow as a dropped file would, and show all of it."""
        if isinstance(workflow, Path):
            workflow = json.loads(workflow.read_text(encoding="utf-8"))
        self.evaluate("async (graph) => { await app.loadGraphData(graph, true, true) }", workflow)
        self.show_all()

    def saved(self) -> dict[str, Any]:
        """The graph as ComfyUI writes it to a file.

        The page makes the JSON: across the browser's wire an undefined value would come back as
        null, and ComfyUI's check of workflows complains about those.
        """
        return dict(json.loads(self.evaluate("() => JSON.stringify(app.graph.serialize())")))

    def show_all(self) -> None:
        """Zoom so that every node is in view."""
        self.evaluate(
            """() => {
              const bounds = [Infinity, Infinity, -Infinity, -Infinity];
              for (const node of app.graph.nodes) {
                bounds[0] = Math.min(bounds[0], node.pos[0]);
                bounds[1] = Math.min(bounds[1], node.pos[1] - 30);
                bounds[2] = Math.max(bounds[2], node.pos[0] + node.size[0]);
                bounds[3] = Math.max(bounds[3], node.pos[1] + node.size[1]);
              }
              const view = app.canvas.ds;
              const [width, height] = [bounds[2] - bounds[0], bounds[3] - bounds[1]];
              view.scale = Math.min(1, innerWidth / (width + 200), innerHeight / (height + 200));
              view.offset[0] = -bounds[0] + 100;
              view.offset[1] = -bounds[1] + 100;
              app.canvas.setDirty(true, true);
            }"""
        )
        self.settle()

    def add(self, node_type: str, position: tuple[float, float], **widgets: object) -> int:
        """The id of a new node with these widget values."""
        node_id = self.evaluate(
            """(type, position) => {
              const node = LiteGraph.createNode(type);
              node.pos = position;
              app.graph.add(node);
              return node.id;
            }""",
            node_type,
            list(position),
        )
        for name, value in widgets.items():
            self.set_widget(node_id, name, value)
        return node_id

    def connect(self, source: int, output: str, target: int, given: str) -> None:
        """Link two nodes by the names of output and input."""
        is_linked = self.evaluate(
            """(source, output, target, given) => {
              const [from, to] = [source, target].map((id) => app.graph.getNodeById(id));
              const named = (slot, name) => [slot.name, slot.label].includes(name);
              const out = from.outputs.findIndex((slot) => named(slot, output));
              const into = to.inputs.findIndex((slot) => named(slot, given));
              return Boolean(out >= 0 && into >= 0 && from.connect(out, to, into));
            }""",
            source,
            output,
            target,
            given,
        )
        assert is_linked, f"node {source} has no link from {output} to {given} of node {target}"

    def set_widget(self, node_id: int, name: str, value: object) -> None:
        """Set a widget as a user would, with its callback."""
        is_set = self.evaluate(
            """(id, name, value) => {
              const node = app.graph.getNodeById(id);
              const widget = node.widgets?.find((held) => held.name === name);
              if (!widget) return false;
              widget.value = value;
              widget.callback?.(value, app.canvas, node);
              return true;
            }""",
            node_id,
            name,
            value,
        )
        assert is_set, f"node {node_id} has no widget {name}"

    def widget(self, node_id: int, name: str) -> Any:
        """The value of a widget; None where the node has none of this name."""
        return self.evaluate(
            """(id, name) => app.graph.getNodeById(id)
              .widgets?.find((held) => held.name === name)?.value ?? null""",
            node_id,
            name,
        )

    def node_types(self) -> dict[int, str]:
        """The type of every node, by its id."""
        nodes = self.evaluate("() => app.graph.nodes.map((node) => [node.id, node.type])")
        # The newest frontends give ids as text.
        return {int(node_id): node_type for node_id, node_type in nodes}

    def queue(self) -> None:
        """Press Run, without waiting for the end."""
        self.evaluate("async () => { await app.queuePrompt(0) }")

    def run(self, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """Press Run, wait for the end, and return what the server's history says of it.

        Raises: AssertionError where ComfyUI refused a node, nothing was queued, or the run failed.
        """
        before = set(self._history())
        self.queue()
        refused = self.evaluate(_REFUSED)
        assert not refused, f"ComfyUI refused a part of the graph: {refused}"
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            # Asked before the history is read: a short run may end in between.
            is_busy = self._is_busy()
            new = [item for key, item in self._history().items() if key not in before]
            if new and new[-1]["status"]["completed"] is not None and not is_busy:
                assert new[-1]["status"]["status_str"] == "success", new[-1]["status"]["messages"]
                return new[-1]
            assert new or is_busy, f"nothing was queued: {self.page_text()[-500:]}"
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the run did not end within {patience_s} s")

    def wait_until(self, script: str, *arguments: object, patience_s: float = 30.0) -> None:
        """Wait until a JavaScript function of these arguments returns true."""
        self.page.wait_for_function(
            f"(given) => ({script})(...given)", arg=list(arguments), timeout=patience_s * 1000
        )

    def settle(self) -> None:
        """Let the page lay out and draw what changed."""
        self.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def page_text(self) -> str:
        """What stands on the page."""
        return self.page.inner_text("body")

    def shot(self, path: Path) -> None:
        """A picture of the page."""
        self.page.screenshot(path=str(path))

    def close(self) -> None:
        """Close the page."""
        self.page.close()

    def _load(self) -> None:
        self.page.goto(self.server.url)
        self._ready()

    def _ready(self) -> None:
        self.page.wait_for_function(_READY)
        # Extensions set up after the graph exists, and a restored graph follows them.
        self.page.wait_for_selector(".splash-loader, #splash-loader", state="detached")
        self.page.wait_for_timeout(500)

    def _history(self) -> dict[str, Any]:
        return self.server.api.get("/history")

    def _stop(self) -> None:
        """End the run in progress and drop the waiting ones."""
        while self._is_busy():
            self.server.api.post("/queue", {"clear": True})
            self.server.api.post("/interrupt", {})
            self.page.wait_for_timeout(200)

    def _is_busy(self) -> bool:
        queue = self.server.api.get("/queue")
        return bool(queue["queue_running"] or queue["queue_pending"])

    def _heard(self, message: Any) -> None:
        text, where = message.text, (message.location or {}).get("url", "")
        # The pack's folder, its routes, and the names of its extensions.
        is_ours = any(name in where for name in _OUR_ADDRESSES) or "MemoryV2V" in text
        is_bad = message.type == "error" or (message.type == "warning" and is_ours)
        if is_bad and (is_ours or not any(word in text for word in _NOT_OURS)):
            self.problems.append(f"{message.type}: {text} ({where})")
