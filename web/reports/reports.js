// Texts below our nodes.
import { app } from "../../../scripts/app.js";

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
        showText(this, output.text.join("\n"));
      }
    };
  },
});
