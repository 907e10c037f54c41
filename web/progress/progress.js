// Live progress: what a run has so far, on the node that runs.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { getJson } from "../shared/server.mjs";
import { textsReady } from "../shared/texts.mjs";
import { nodeAt, placedNodes, workflowId } from "../shared/places.mjs";
import { showRun } from "./panel.mjs";
import { heardPreview, heardProgress, heardRuns, runAt } from "./runs.mjs";

const NODES = new Set(["MemoryV2VSampler", "MemV2VEditLongVideo", "MemV2VReshootVideo"]);

function showAt(run) {
  // A run of a workflow in another tab shows when that tab is opened.
  if (run.workflow !== null && run.workflow !== workflowId()) {
    return;
  }
  const node = nodeAt(run.node);
  if (node && NODES.has(node.comfyClass)) {
    showRun(node, run);
  }
}

function showAll() {
  for (const [place, node] of placedNodes()) {
    const run = NODES.has(node.comfyClass) ? runAt(workflowId(), place) : null;
    if (run) {
      showRun(node, run);
    }
  }
}

// What was told while this page was not there.
async function catchUp() {
  try {
    heardRuns((await getJson("/live")).runs);
  } catch {
    return; // a server that does not answer is shown by ComfyUI itself
  }
  await textsReady;
  showAll();
}

app.registerExtension({
  name: "MemoryV2V.Progress",
  async setup() {
    api.addEventListener("memory_v2v.progress", ({ detail }) => showAt(heardProgress(detail)));
    api.addEventListener("memory_v2v.preview", ({ detail }) => {
      if (app.extensionManager.setting.get("MemoryV2V.Preview") !== "off") {
        showAt(heardPreview(detail));
      }
    });
    api.addEventListener("reconnected", catchUp);
    await catchUp();
  },
  async afterConfigureGraph() {
    showAll();
  },
});
