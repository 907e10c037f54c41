// What a node showed last, for the page after a reload: names of temporary files.
import { BrowserStore } from "../shared/browser_store.mjs";

const STORE = new BrowserStore("MemoryV2V.Compare", 60);

const nameOf = (node) => `${node.graph?.id}/${node.id}`;

export function keep(node, shown) {
  STORE.put(nameOf(node), shown);
}

export function kept(node) {
  return STORE.get(nameOf(node));
}
