"""Every picture of the pack's pages, made by one command: nodes, and thumbnails of workflows.

It also lays out the shipped workflows: nodes get the room that they need before and after a run.
"""

import argparse
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ..environment import ROOT, Environment, find_environment
from ..server import ComfyServer, running_server
from .bench import Bench, Rendering, launch
from .frontends import prepare_newest_frontend
from .layout import boxes, spread
from .thumbnails import filmstrips, made_videos, on_card

WORKFLOWS = ROOT / "workflows"
HELP = ROOT / "web" / "docs" / "images"
# These need no file beside the pack's own, so their thumbnails show what they make; the others show
# their graph.
RUNS = (
    "multi_turn_depth",
    "multi_turn_novel_view",
    "one_turn_native_sampler",
    "reshoot_video",
    "long_video_edit",
    "long_video_wired",
)
_QUALITY = 82
_RUN_S = 1200.0
# The page's own menus stand at its borders.
_WAVES = ((1, 2), (2, 1), (1, -1))
_PAGE, _NODE_PLACE = {"width": 1600, "height": 1900}, (360, 160)
# The page's own menus, its map and its messages stand over the canvas.
_NO_MENUS = """
  .graph-canvas-container > .z-999, ol.fixed,
  .comfyui-body-top, .comfyui-body-left, .comfyui-body-bottom, .side-tool-bar-container,
  .workflow-tabs-container, .actionbar-container, .minimap-main-container, .p-toast,
  .p-buttongroup, .subgraph-breadcrumb, .graph-canvas-panel > * { visibility: hidden !important; }
"""
NUM_RUN_STAGES = 2
# What a run shows has one size, however good its result is and however long its clip.
_FEW_STEPS = """() => {
  const isLong = app.graph.nodes.some((node) => node.type === "MemV2VEditLongVideo");
  for (const node of app.graph.nodes) {
    for (const widget of node.widgets ?? []) {
      if (widget.name === "steps") widget.value = 2;
      if (isLong && widget.name === "num_frames") widget.value = 27;
    }
  }
}"""
# Where the graph is on the page.
_GRAPH = """() => {
  const scale = app.canvas.ds.scale;
  const [left, top] = app.canvas.ds.offset;
  const drawn = app.canvas.canvas.getBoundingClientRect();
  const nodes = app.graph.nodes;
  const x = Math.min(...nodes.map((node) => node.pos[0])) - 20;
  const y = Math.min(...nodes.map((node) => node.pos[1])) - 60;
  const right = Math.max(...nodes.map((node) => node.pos[0] + node.size[0])) + 20;
  const bottom = Math.max(...nodes.map((node) => node.pos[1] + node.size[1])) + 20;
  return {x: drawn.left + (x + left) * scale, y: drawn.top + (y + top) * scale,
          width: (right - x) * scale, height: (bottom - y) * scale};
}"""
_CLIP = "clip.mp4"
Sizes = dict[str, dict[int, tuple[float, float]]]


def lay_out(environment: Environment, names: list[str]) -> None:
    """Rewrite the positions of these workflows so that nothing covers anything."""
    with _benches(environment) as benches:
        sizes: Sizes = defaultdict(dict)
        kinds: dict[str, tuple[float, float]] = {}
        # A run shows the same in both frontends, so two pages are enough for it.
        for idx, bench in enumerate(benches):
            _measure(bench, sizes, kinds, runs=idx < NUM_RUN_STAGES)
    for path in _workflows(names):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        # What no machine here can run grows as its kind of node did in another workflow.
        needed = {
            node["id"]: _larger(sizes[path.stem][node["id"]], kinds.get(node["type"], (0.0, 0.0)))
            for node in workflow["nodes"]
        }
        _write(path, spread(workflow, needed))


def take_thumbnails(environment: Environment, names: list[str]) -> None:
    """Write the picture of each of these workflows, beside it."""
    with _benches(environment, [("newest", "nodes2")]) as (bench,):
        for path in _workflows(names):
            bench.clear()
            bench.open_workflow(path)
            if path.stem in RUNS:
                made = bench.run(_RUN_S)["outputs"]
                picture = filmstrips(made_videos(made, bench.server.base_dir / "output"))
            else:
                boxes(bench)
                bench.show_all()
                shot = bench.page.screenshot(clip=bench.evaluate(_GRAPH))
                picture = on_card(Image.open(io.BytesIO(shot)))
            picture.save(path.with_suffix(".jpg"), quality=_QUALITY)
            print(f"{path.stem}.jpg", flush=True)


def picture_nodes(environment: Environment, names: list[str]) -> None:
    """Write a picture of each node, as help pages show it."""
    HELP.mkdir(parents=True, exist_ok=True)
    with _benches(environment, [("newest", "nodes2")]) as (bench,):
        for name, node in sorted(bench.server.api.object_info().items()):
            if not node["python_module"].endswith("memory-v2v") or (names and name not in names):
                continue
            bench.clear()
            node_id = bench.add(name, _NODE_PLACE)
            bench.page.wait_for_timeout(800)
            drawn = bench.page.locator(f'[data-node-id="{node_id}"]')
            shown = Image.open(io.BytesIO(drawn.screenshot())).convert("RGB")
            shown.save(HELP / f"{name}.webp", quality=_QUALITY, method=6)
            print(f"{name}.webp", flush=True)


COMMANDS = {"layout": lay_out, "thumbnails": take_thumbnails, "nodes": picture_nodes}


@contextmanager
def _benches(
    environment: Environment,
    stages: list[tuple[str, Rendering]] | None = None,
) -> Iterator[list[Bench]]:
    """A page for each frontend and rendering, on servers that hold every file by its name."""
    from playwright.sync_api import sync_playwright

    frontends = {"pinned": None, "newest": prepare_newest_frontend(environment)}
    stages = stages or [
        ("pinned", "classic"),
        ("newest", "nodes2"),
        ("pinned", "nodes2"),
        ("newest", "classic"),
    ]
    with ExitStack() as opened:
        browser = launch(opened.enter_context(sync_playwright()))
        opened.callback(browser.close)
        servers: dict[str, ComfyServer] = {}
        for frontend in dict.fromkeys(frontend for frontend, _ in stages):
            root = frontends[frontend]
            options = [] if root is None else ["--front-end-root", str(root)]
            manager = running_server(environment, extra_args=["--disable-api-nodes", *options])
            servers[frontend] = opened.enter_context(manager)
            place_files(servers[frontend])
        benches = [Bench.open(browser, servers[name], rendering) for name, rendering in stages]
        for bench in benches:
            bench.page.set_viewport_size(_PAGE)
            bench.page.add_style_tag(content=_NO_MENUS)
        yield benches


def place_files(server: ComfyServer) -> None:
    """Empty files of the names that workflows need: the page lists them, and nothing loads them."""
    _write_clip(server.base_dir / "input" / _CLIP)
    for path in _workflows([]):
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
            for model in node.get("properties", {}).get("models", ()):
                file = server.base_dir / "models" / model["directory"] / model["name"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()


def _write_clip(path: Path) -> None:
    """Two seconds of moving colours, which stand for the user's clip."""
    import av
    import numpy

    rows, columns = numpy.mgrid[0:240, 0:416]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 416, 240, "yuv420p"
        for idx in range(32):
            waves = [numpy.sin((rows * a + columns * b) / 60 + idx / 8) for a, b in _WAVES]
            picture = (numpy.stack(waves, -1) * 60 + 128).astype(numpy.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def _measure(bench: Bench, sizes: Sizes, kinds: dict[str, tuple[float, float]], runs: bool) -> None:
    """The largest size of every node so far, by workflow; of nodes that ran also by kind."""
    for path in _workflows([]):
        bench.clear()
        bench.open_workflow(path)
        types = bench.node_types()
        for is_after in (False, True) if runs and path.stem in RUNS else (False,):
            if is_after:
                bench.evaluate(_FEW_STEPS)
                bench.run(_RUN_S)
                bench.page.wait_for_timeout(1500)
            for box in boxes(bench):
                size = box.width, box.height - 30
                held = sizes[path.stem].get(box.node_id, (0.0, 0.0))
                sizes[path.stem][box.node_id] = _larger(held, size)
                if is_after:
                    kind = types[box.node_id]
                    kinds[kind] = _larger(kinds.get(kind, (0.0, 0.0)), (0.0, size[1]))
        print(f"{bench.rendering} {path.stem}", flush=True)


def _larger(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), max(one[1], other[1])


def _workflows(names: list[str]) -> list[Path]:
    return [path for path in sorted(WORKFLOWS.glob("*.json")) if not names or path.stem in names]


def _write(path: Path, workflow: dict[str, Any]) -> None:
    indent = len(path.read_text(encoding="utf-8").split("\n")[1].partition('"')[0])
    text = json.dumps(workflow, indent=indent, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """The exit code of `dev.py pictures`."""
    parser = argparse.ArgumentParser(prog="dev.py pictures", description=__doc__)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("names", nargs="*", help="of workflows or nodes; none means all")
    given = parser.parse_args(arguments)
    environment = find_environment()
    assert environment is not None, "dev.py has set it up"
    COMMANDS[given.what](environment, given.names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
