// Which widget gives an input its value, and which session a node uses.
import { placedNodes } from "../../shared/places.mjs";

// The id that LiteGraph gives the inner end of a subgraph's inputs.
const SUBGRAPH_INPUT = -10;
const USED = "memv2v_session"; // the session that the last run named after the clip

export function linkOf(graph, id) {
  return graph.links instanceof Map ? graph.links.get(id) : (graph.links?.[id] ?? graph.getLink?.(id));
}

export function inputLink(node, name) {
  const id = node.inputs?.find((input) => input.name === name)?.link ?? null;
  return id === null || !node.graph ? null : (linkOf(node.graph, id) ?? null);
}

// { node, widget } that holds the value: of the node, or of the box around it that shows the widget
// in its place. null where a link brings the value, and where several boxes share the node.
export function holderOf(node, name) {
  const link = inputLink(node, name);
  if (!link) {
    const widget = widgetNamed(node, name);
    return widget ? { node, widget } : null;
  }
  if (Number(link.origin_id) !== SUBGRAPH_INPUT) {
    return null;
  }
  const boxes = [...placedNodes()].map(([, box]) => box).filter((box) => box.subgraph === node.graph);
  const given = node.graph.inputs?.[link.origin_slot]?.name;
  return boxes.length === 1 && given ? holderOf(boxes[0], given) : null;
}

export function widgetNamed(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

// Keep the session that a run named after the clip.
export function rememberSession(node, name) {
  node.properties[USED] = name;
}

// The session that the node uses, "" where only a run knows it.
export function sessionOf(node) {
  const source = linkedNode(node);
  if (source) {
    // A text node that holds the name can be followed; anything else is known to the run alone.
    const value = source.widgets?.[0]?.value;
    return typeof value === "string" && source.widgets.length === 1 ? value : "";
  }
  const name = String(holderOf(node, "session")?.widget.value ?? "").trim();
  return name || (node.comfyClass === "MemoryCache" ? "" : (node.properties?.[USED] ?? ""));
}

// The node that gives this one its session; null where a widget does.
export function linkedNode(node) {
  const slot = node.inputs?.findIndex((input) => input.name === "session") ?? -1;
  return slot < 0 || node.inputs[slot].link == null ? null : node.getInputNode(slot);
}
