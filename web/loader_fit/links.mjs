// Where the value of an input comes from, through reroutes, subgraphs and nodes that pass it on.
import { placedNodes } from "../shared/places.mjs";

// The ids that LiteGraph gives the two ends of a subgraph.
const SUBGRAPH_INPUT = -10;
const BYPASSED = 4;
const MAX_STEPS = 200; // a loop of links must not hang the page

const linkOf = (graph, id) => graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id];
const inputNamed = (node, name) => node.inputs?.find((input) => input.name === name);

export function isLinked(node, name) {
  return (inputNamed(node, name)?.link ?? null) !== null;
}

// An input whose value goes on to this output.
function passedOn(node, output) {
  const inputs = node.inputs ?? [];
  if (/reroute/i.test(node.type)) {
    return inputs[0];
  }
  // As a LoRA loader, or any bypassed node.
  const type = node.outputs?.[output]?.type;
  return inputs.find((input) => input.type === type && (input.link ?? null) !== null);
}

// The twin of a node "Get ..." that has no link to it, as KJNodes draws them.
function twinOf(node) {
  const name = node.widgets?.[0]?.value;
  return node.type === "GetNode"
    ? node.graph?.nodes.find((held) => held.type === "SetNode" && held.widgets?.[0]?.value === name)
    : undefined;
}

function subgraphInput(host, slot) {
  const given = host.subgraph.inputs?.[slot];
  return host.inputs?.find((input) => input._subgraphSlot === given || input.name === given?.name);
}

// [node, output] of every node that a link leads back to. A subgraph that is used twice has two.
function* follow(graph, link, isEnd, steps = 0) {
  if (!link || steps > MAX_STEPS) {
    return;
  }
  if (Number(link.origin_id) === SUBGRAPH_INPUT) {
    for (const [, host] of placedNodes()) {
      const outer = host.subgraph === graph ? subgraphInput(host, link.origin_slot) : undefined;
      yield* follow(host.graph, linkOf(host.graph, outer?.link), isEnd, steps + 1);
    }
    return;
  }
  const node = graph.getNodeById(link.origin_id);
  if (!node) {
    return;
  }
  if (node.subgraph && node.mode !== BYPASSED) {
    const inner = node.subgraph.outputs?.[link.origin_slot]?.linkIds?.[0];
    yield* follow(node.subgraph, linkOf(node.subgraph, inner), isEnd, steps + 1);
    return;
  }
  if (node.mode !== BYPASSED && isEnd(node)) {
    yield [node, link.origin_slot];
    return;
  }
  const before = twinOf(node)?.inputs?.[0] ?? passedOn(node, link.origin_slot);
  yield* follow(graph, linkOf(graph, before?.link), isEnd, steps + 1);
}

export function sourcesOf(node, name, isEnd) {
  return [...follow(node.graph, linkOf(node.graph, inputNamed(node, name)?.link), isEnd)];
}

// The value of a widget, also where a subgraph shows the widget in place of the node.
export function valueOf(node, name) {
  const link = linkOf(node.graph, inputNamed(node, name)?.link);
  if (!link) {
    return node.widgets?.find((widget) => widget.name === name)?.value;
  }
  if (Number(link.origin_id) !== SUBGRAPH_INPUT) {
    return undefined;
  }
  for (const [, host] of placedNodes()) {
    const given = host.subgraph === node.graph && host.subgraph.inputs?.[link.origin_slot];
    const shown = given && host.widgets?.find((widget) => widget.name === given.name);
    if (shown) {
      return shown.value;
    }
  }
  return undefined;
}
