// What each node last showed, for a page that is loaded again. It lies in the browser, beside the
// workflow: in the workflow's file every run would mark it as changed, and a shared file would
// carry the texts along.
const KEY = "memory_v2v.last_results";
const MOST_NODES = 200;
const MOST_CHARACTERS = 20000; // of one node

function all() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // written by something else
  }
}

const keyOf = (workflow, place) => `${workflow}/${place}`;

export function keepResult(workflow, place, type, output) {
  const held = all();
  const key = keyOf(workflow, place);
  // Set anew, so that it is the newest.
  delete held[key];
  if (JSON.stringify(output).length <= MOST_CHARACTERS) {
    held[key] = { type, output };
  }
  const keys = Object.keys(held);
  for (const old of keys.slice(0, Math.max(keys.length - MOST_NODES, 0))) {
    delete held[old];
  }
  try {
    localStorage.setItem(KEY, JSON.stringify(held));
  } catch {
    localStorage.removeItem(KEY); // the browser's room for this site is full
  }
}

// The output of this node's last run; null for none, and where a node of another type has its id.
export function lastResult(workflow, place, type) {
  const held = all()[keyOf(workflow, place)];
  // A subgraph has no type of its own, and nothing held for it.
  return held && held.type === type ? held.output : null;
}
