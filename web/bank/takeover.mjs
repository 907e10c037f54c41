// "Take over as source": a Recall Turn that holds the card's result, wired where it can be.
import { app } from "../../../scripts/app.js";
import { t } from "../shared/texts.mjs";
import { setWidget } from "./actions.mjs";
import { linkOf } from "./redo/holder.mjs";
import { nameOf } from "./words.mjs";

const RECALL = "MemV2VRecallTurn";
const CACHE_NODE = "MemoryCache";
const CACHE_TYPE = "MEMV2V_CACHE";
const LATENT_TYPE = "LATENT";
const ID_LENGTH = 8;
const GAP = 40;

const { LiteGraph } = window;

export function takeOver(owner, session, card) {
  const graph = owner?.graph ?? app.canvas.graph ?? app.graph;
  const reader = selectedReader(graph);
  graph.beforeChange?.();
  const cache = owner?.type === CACHE_NODE ? owner : cacheNode(graph, session);
  const recall = recallNode(graph, cache);
  setWidget(recall, named(recall.widgets, "turn"), 0);
  setWidget(recall, named(recall.widgets, "entry"), card.id.slice(0, ID_LENGTH));
  recall.title = t("Recall {name}", { name: nameOf(card) });
  const target = reader && connected(recall, reader);
  graph.afterChange?.();
  app.canvas.selectNode?.(recall);
  graph.setDirtyCanvas(true, true);
  const name = nameOf(card);
  app.extensionManager.toast.add({
    severity: "success",
    summary: t("{name} is taken over", { name }),
    detail: target
      ? t("Recall Turn is connected to the source of {node}.", { node: target.title })
      : t("Recall Turn holds it. Connect its latent to the source of the next edit, or to VAE Decode."),
    life: 6000,
  });
  return recall;
}

// A selected node with a free input for a source.
function selectedReader(graph) {
  const selected = Object.values(app.canvas.selected_nodes ?? {});
  return selected.find((node) => node.graph === graph && freeSource(node) >= 0);
}

function freeSource(node) {
  return (node.inputs ?? []).findIndex(
    (input) => input.name === "source" && input.type === LATENT_TYPE && input.link == null,
  );
}

function connected(recall, reader) {
  recall.connect(recall.findOutputSlot("latent"), reader, freeSource(reader));
  return reader;
}

function named(items, name) {
  return items.find((item) => item.name === name);
}

// The Memory Cache of this session, a new one where the graph has none.
function cacheNode(graph, session) {
  const held = graph.nodes.find(
    (node) => node.type === CACHE_NODE && named(node.widgets ?? [], "session")?.value === session,
  );
  if (held) {
    return held;
  }
  const made = LiteGraph.createNode(CACHE_NODE);
  const [x, y] = app.canvas.ds ? viewCorner() : [0, 0];
  made.pos = freePlace(graph, [x, y], made.size);
  graph.add(made);
  setWidget(made, named(made.widgets, "session"), session);
  return made;
}

// The Recall Turn that an earlier takeover put behind this cache, else a new one.
function recallNode(graph, cache) {
  const slot = cache.outputs.findIndex((output) => output.type === CACHE_TYPE);
  const links = cache.outputs[slot].links ?? [];
  const readers = links.map((id) => graph.getNodeById(linkOf(graph, id)?.target_id));
  const held = readers.find((node) => node?.type === RECALL && node.properties?.memv2v_takeover);
  if (held) {
    return held;
  }
  const made = LiteGraph.createNode(RECALL);
  made.pos = freePlace(graph, [cache.pos[0] + cache.size[0] + GAP, cache.pos[1]], made.size);
  graph.add(made);
  made.properties.memv2v_takeover = true;
  cache.connect(slot, made, made.inputs.findIndex((input) => input.type === CACHE_TYPE));
  return made;
}

function viewCorner() {
  const { offset, scale } = app.canvas.ds;
  const { width, height } = app.canvas.canvas.getBoundingClientRect();
  return [width / 2 / scale - offset[0] - 300, height / 2 / scale - offset[1] - 150];
}

// Moved down until no node lies there.
function freePlace(graph, [x, y], [width, height]) {
  const place = [x, y];
  const isOver = (node) =>
    place[0] < node.pos[0] + node.size[0] + GAP / 2 &&
    node.pos[0] < place[0] + width + GAP / 2 &&
    place[1] - GAP < node.pos[1] + node.size[1] &&
    node.pos[1] - GAP < place[1] + height;
  for (let hit = graph.nodes.find(isOver); hit; hit = graph.nodes.find(isOver)) {
    place[1] = hit.pos[1] + hit.size[1] + 2 * GAP;
  }
  return place;
}
