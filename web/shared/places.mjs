// Which node of which workflow: as a run names it ("5:3" is node 3 in subgraph node 5), and back.
import { app } from "../../../scripts/app.js";

// By way of the canvas, which is there once the graph is.
const rootGraph = () => app.canvas?.graph?.rootGraph ?? app.canvas?.graph;

// The id that the open workflow keeps in its file and sends with every run.
export function workflowId() {
  return rootGraph()?.id ?? null;
}

export function nodeAt(executionId) {
  let graph = rootGraph();
  let node = null;
  for (const id of String(executionId).split(":")) {
    node = graph?.nodes.find((held) => String(held.id) === id);
    graph = node?.subgraph;
  }
  return node ?? null;
}

// [executionId, node] of every node, those inside subgraphs too.
export function* placedNodes(graph = rootGraph(), prefix = "") {
  for (const node of graph?.nodes ?? []) {
    const id = `${prefix}${node.id}`;
    yield [id, node];
    if (node.subgraph) {
      yield* placedNodes(node.subgraph, `${id}:`);
    }
  }
}

export function executionIdOf(node) {
  for (const [id, placed] of placedNodes()) {
    if (placed === node) {
      return id;
    }
  }
  return null;
}
