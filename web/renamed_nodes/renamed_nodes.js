// Opens workflows of the version before: gives our nodes their new ids.
import { app } from "../../../scripts/app.js";

const RENAMED = fetch(new URL("./renamed_nodes.json", import.meta.url)).then((response) =>
  response.json(),
);

// Other packs have nodes of the same short names: ours is told by the names and types of its outputs.
function isOurs(node, newId) {
  const definition = LiteGraph.registered_node_types[newId]?.nodeData;
  const outputs = node.outputs ?? [];
  if (!definition || outputs.length === 0) {
    return false;
  }
  const types = definition.output ?? [];
  const names = definition.output_name ?? types;
  return outputs.every(({ name, type }, idx) => names[idx] === name && types[idx] === type);
}

function renameNodes(nodes, renamed) {
  for (const node of nodes ?? []) {
    const newId = renamed[node.type];
    if (!newId || !isOurs(node, newId)) {
      continue;
    }
    if (node.properties?.["Node name for S&R"] === node.type) {
      node.properties["Node name for S&R"] = newId;
    }
    node.type = newId;
  }
}

app.registerExtension({
  name: "MemoryV2V.RenamedNodes",
  async beforeConfigureGraph(graphData) {
    const renamed = await RENAMED;
    renameNodes(graphData.nodes, renamed);
    for (const subgraph of graphData.definitions?.subgraphs ?? []) {
      renameNodes(subgraph.nodes, renamed);
    }
  },
});
