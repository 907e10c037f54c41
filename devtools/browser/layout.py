"""Room for every node of a shipped workflow, in both renderings, before a run and after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bench import Bench

TITLE_HEIGHT, GAP, GROUP_MARGIN, GROUP_TITLE = 30, 30, 20, 40
_LOOK_MS, _EQUAL_LOOKS, _MOST_LOOKS = 250, 6, 40

# Width and height of a node below its title, as the page draws it.
_SIZES = """() => app.graph.nodes.map((node) => {
  const drawn = document.querySelector(`[data-node-id="${node.id}"]`);
  const box = drawn?.getBoundingClientRect();
  const scale = app.canvas.ds.scale;
  const needed = node.computeSize();
  const shown = box ? [box.width / scale, box.height / scale - 30] : [0, 0];
  const size = box ? shown : node.size;
  return [Number(node.id), node.pos[0], node.pos[1], Math.max(size[0], box ? 0 : needed[0]),
          Math.max(size[1], box ? 0 : needed[1])];
})"""


@dataclass(frozen=True)
class Box:
    """A node on the canvas with its title, in canvas pixels."""

    node_id: int
    left: float
    top: float
    width: float
    height: float

    def overlaps(self, other: "Box", gap: float = 0.0) -> bool:
        """Whether less than `gap` lies between the two."""
        return (
            self.left < other.left + other.width + gap
            and other.left < self.left + self.width + gap
            and self.top < other.top + other.height + gap
            and other.top < self.top + self.height + gap
        )


def boxes(bench: Bench) -> list[Box]:
    """The nodes of the open workflow as they are drawn, once none grows any more.

    Previews and our own panels come after their node, and only then it has its height.
    """
    drawn: list[list[Box]] = []
    for _ in range(_MOST_LOOKS):
        bench.settle()
        drawn.append(_drawn(bench))
        if len(drawn) >= _EQUAL_LOOKS and drawn.count(drawn[-1]) >= _EQUAL_LOOKS:
            break
        bench.page.wait_for_timeout(_LOOK_MS)
    return drawn[-1]


def _drawn(bench: Bench) -> list[Box]:
    return [
        Box(node_id, left, top - TITLE_HEIGHT, width, height + TITLE_HEIGHT)
        for node_id, left, top, width, height in bench.evaluate(_SIZES)
    ]


def overlapping(drawn: Sequence[Box], slack: float = 1.0) -> list[tuple[int, int]]:
    """Pairs of ids of nodes that cover each other by more than `slack` pixels."""
    return [
        (one.node_id, other.node_id)
        for idx, one in enumerate(drawn)
        for other in drawn[idx + 1 :]
        if one.overlaps(other, -slack)
    ]


def spread(workflow: Mapping[str, Any], sizes: Mapping[int, tuple[float, float]]) -> dict[str, Any]:
    """The workflow with nodes of these sizes (width, height below the title), moved apart.

    A node that would cover another moves down. Groups are drawn around the nodes that they held.
    """
    members = [_members(group, workflow["nodes"]) for group in workflow.get("groups", ())]
    placed: list[Box] = []
    moved: dict[int, dict[str, Any]] = {}
    for node in sorted(workflow["nodes"], key=lambda node: (node["pos"][1], node["pos"][0])):
        width, height = _rounded(sizes[node["id"]], node["size"])
        left, top = node["pos"]
        box = Box(node["id"], left, top - TITLE_HEIGHT, width, height + TITLE_HEIGHT)
        while covered := [held for held in placed if box.overlaps(held, GAP - 1)]:
            below = max(held.top + held.height for held in covered) + GAP
            box = Box(box.node_id, left, below, width, box.height)
        placed.append(box)
        moved[node["id"]] = {**node, "pos": [left, box.top + TITLE_HEIGHT], "size": [width, height]}
    groups = [
        {**group, "bounding": _around(box for box in placed if box.node_id in held)}
        for group, held in zip(workflow.get("groups", ()), members, strict=True)
    ]
    nodes = [moved[node["id"]] for node in workflow["nodes"]]
    return {**workflow, "nodes": nodes, "groups": groups}


def _rounded(size: tuple[float, float], saved: Sequence[float]) -> tuple[int, int]:
    """Whole pixels; a node keeps a larger saved size."""
    return max(round(size[0]), round(saved[0])), max(round(size[1] + 0.5), round(saved[1]))


def _members(group: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> set[int]:
    left, top, width, height = group["bounding"]
    return {
        node["id"]
        for node in nodes
        if left <= node["pos"][0] < left + width and top <= node["pos"][1] < top + height
    }


def _around(held: Iterable[Box]) -> list[float]:
    inside = list(held)
    left = min(box.left for box in inside) - GROUP_MARGIN
    top = min(box.top for box in inside) - GROUP_TITLE
    right = max(box.left + box.width for box in inside) + GROUP_MARGIN
    bottom = max(box.top + box.height for box in inside) + GROUP_MARGIN
    return [left, top, right - left, bottom - top]
