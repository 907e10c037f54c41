// What each node last showed, for a page that is loaded again.
import { BrowserStore } from "../shared/browser_store.mjs";

const STORE = new BrowserStore("memory_v2v.last_results", 200);
const MOST_CHARACTERS = 20000; // of one node

const keyOf = (workflow, place) => `${workflow}/${place}`;

export function keepResult(workflow, place, type, output) {
  const isShort = JSON.stringify(output).length <= MOST_CHARACTERS;
  STORE.put(keyOf(workflow, place), isShort ? { type, output } : undefined);
}

// The output of this node's last run; null for none, and where a node of another type has its id.
export function lastResult(workflow, place, type) {
  const held = STORE.get(keyOf(workflow, place));
  // A subgraph has no type of its own, and nothing held for it.
  return held && held.type === type ? held.output : null;
}
