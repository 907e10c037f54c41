// Texts below our nodes, and an upload button for camera files.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const TEXT_NODES = new Set([
  "MemV2VPreviewCameraTrajectory",
  "MemV2VPlaybackTime",
  "MemoryCache",
  "VideoFOVRetrieve",
  "DynamicTokenize",
  "MemoryV2VSampler",
  "MemV2VApplyMemory",
  "MemV2VConsistencyReport",
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
  "MemV2VDemoLongVideo",
  "MemV2VExportCameraTrajectory",
  "MemV2VImportCameraTrajectory",
  "MemV2VEstimateSourceCamera",
]);
const TEXT_WIDGET = "memory_v2v_text";

function showText(node, text) {
  let widget = node.widgets?.find((held) => held.name === TEXT_WIDGET);
  if (!widget) {
    widget = app.widgets.STRING(node, TEXT_WIDGET, ["STRING", { multiline: true }], app).widget;
    widget.label = "report";
    widget.options.read_only = true;
    widget.options.serialize = false;
    widget.serialize = false; // what a run said is no input and is not saved
    widget.serializeValue = () => undefined;
    if (widget.element) {
      widget.element.readOnly = true;
    }
  }
  widget.value = text;
  node.setDirtyCanvas?.(true, true);
}

async function uploadCamera(node, file) {
  const body = new FormData();
  body.append("image", file); // ComfyUI's one route for files of the input folder
  body.append("type", "input");
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (response.status !== 200) {
    app.extensionManager.toast.add({
      severity: "error",
      summary: "Upload failed",
      detail: `${file.name}: ${response.status} ${response.statusText}`,
    });
    return;
  }
  const { name, subfolder } = await response.json();
  const path = subfolder ? `${subfolder}/${name}` : name;
  const widget = node.widgets.find((held) => held.name === "file");
  if (!widget.options.values.includes(path)) {
    widget.options.values = [...widget.options.values, path].sort();
  }
  widget.value = path;
  widget.callback?.(path);
  node.setDirtyCanvas?.(true, true);
}

function addUploadButton(node) {
  const picker = document.createElement("input");
  picker.type = "file";
  picker.accept = ".json,.txt,.bin,application/json,text/plain";
  picker.multiple = true; // COLMAP's pictures and lenses are two files
  picker.onchange = async () => {
    for (const file of picker.files) {
      await uploadCamera(node, file);
    }
  };
  const button = node.addWidget("button", "choose camera file to upload", null, () => {
    picker.value = "";
    picker.click();
  });
  button.serialize = false;
  button.options.serialize = false;
}

app.registerExtension({
  name: "MemoryV2V.Nodes",
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (!TEXT_NODES.has(nodeData.name)) {
      return;
    }
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text) {
        showText(this, output.text.join("\n"));
      }
    };
  },
  nodeCreated(node) {
    if (node.comfyClass === "MemV2VImportCameraTrajectory") {
      addUploadButton(node);
    }
  },
});
