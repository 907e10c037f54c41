// What a node showed last, for the page after a reload. It stays in this browser: a saved workflow
// holds no names of temporary files.
const KEY = "MemoryV2V.Compare";
const MOST = 60;

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // another program wrote there
  }
}

const nameOf = (node) => `${node.graph?.id}/${node.id}`;

export function keep(node, shown) {
  const { [nameOf(node)]: _, ...others } = read();
  const newest = [...Object.entries(others), [nameOf(node), shown]].slice(-MOST);
  localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(newest)));
}

export function kept(node) {
  return read()[nameOf(node)];
}
