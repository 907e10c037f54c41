// The reports of our nodes, and what a page that is loaded again shows of the last run.
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { executionIdOf, nodeAt, placedNodes, workflowId } from "../shared/places.mjs";
import { textsReady } from "../shared/texts.mjs";
import { keepResult, lastResult } from "./last_results.mjs";
import { showReport } from "./report_panel.mjs";

const TEXT_NODES = new Set([
  "MemV2VPreviewCameraTrajectory",
  "MemV2VPlaybackTime",
  "MemoryCache",
  "VideoFOVRetrieve",
  "DynamicTokenize",
  "MemoryV2VSampler",
  "MemV2VApplyMemory",
  "MemV2VConsistencyReport",
  "MemV2VCompareTurns",
  "MemV2VScoreTurns",
  "MemV2VFitVideo",
  "MemV2VRestoreVideo",
  "MemV2VRecallTurn",
  "MemV2VRecentRetrieve",
  "LoadMemoryV2VModel",
  "MemV2VLoadMemoryAdapter",
  "MemV2VDescribeBase",
  "MemV2VSplitSegments",
  "DinoSegmentRetrieve",
  "StitchSegments",
  "MemV2VEditLongVideo",
  "MemV2VReshootVideo",
  "MemV2VDemoLongVideo",
  "MemV2VExportCameraTrajectory",
  "MemV2VImportCameraTrajectory",
  "MemV2VEstimateSourceCamera",
]);
const RESTORE_AFTER_MS = [0, 300, 1000, 3000];

// True while a result of before is shown again: it is no new one.
let isRestoring = false;

app.registerExtension({
  name: "MemoryV2V.Reports",
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (!TEXT_NODES.has(nodeData.name)) {
      return;
    }
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text) {
        showReport(this, output.text.join("\n"), isRestoring);
      }
      const place = isRestoring || !output ? null : executionIdOf(this);
      if (place) {
        keepResult(workflowId(), place, nodeData.name, output);
      }
    };
  },
  async afterConfigureGraph() {
    // ComfyUI shows what it still has of an open workflow first.
    setTimeout(restoreAll);
  },
});

async function restoreAll() {
  await textsReady;
  for (const [place, node] of placedNodes()) {
    const output = lastResult(workflowId(), place, node.comfyClass);
    if (output && TEXT_NODES.has(node.comfyClass)) {
      restore(place, node, output);
    }
  }
}

async function restore(place, node, output) {
  if (output.text) {
    showReport(node, output.text.join("\n"), true);
  }
  const [picture] = output.images ?? [];
  if (!picture || !(await isThere(picture))) {
    return;
  }
  // ComfyUI clears all outputs at some moment after a workflow is loaded.
  for (const delay of RESTORE_AFTER_MS) {
    await new Promise((done) => setTimeout(done, delay));
    if (nodeAt(place) === node && !hasPictures(node)) {
      showPictures(place, output);
      node.setDirtyCanvas?.(true, true);
    }
  }
}

function hasPictures(node) {
  // The classic rendering loads them when it draws the node, and may drop what it loads.
  const isDrawn = LiteGraph.vueNodesMode || node.imgs?.length || node.videoContainer;
  return Boolean(isDrawn && app.nodeOutputs?.[outputKey(node)]);
}

// As ComfyUI names outputs: a node in a subgraph has the id of the subgraph before its own.
function outputKey(node) {
  const isInside = node.graph?.rootGraph && node.graph !== node.graph.rootGraph;
  return isInside ? `${node.graph.id}:${node.id}` : String(node.id);
}

function showPictures(place, output) {
  isRestoring = true;
  try {
    // As after a run: ComfyUI then shows the pictures itself, in each rendering.
    // A copy: pictures that ComfyUI has seen once on this node it does not load again.
    const detail = { node: place, display_node: place, output: structuredClone(output) };
    api.dispatchEvent(new CustomEvent("executed", { detail }));
  } finally {
    isRestoring = false;
  }
}

// ComfyUI empties its temporary folder when it starts.
async function isThere({ filename, subfolder, type }) {
  const query = new URLSearchParams({ filename, subfolder: subfolder ?? "", type: type ?? "output" });
  try {
    return (await api.fetchApi(`/view?${query}`, { method: "HEAD" })).ok;
  } catch {
    return false;
  }
}
