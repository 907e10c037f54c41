// Folded inputs of our nodes. The classic rendering leaves all of them in view, so they are folded
// here, behind a button; Nodes 2.0 has its own. Those that a workflow sets are shown when it opens:
// no setting is hidden without a trace.
import { app } from "../../../scripts/app.js";
import { t, textsReady } from "../shared/texts.mjs";
import { addWideButton } from "../shared/wide_button.mjs";

const CATEGORY = "Memory-V2V";
const BUTTON = "memv2v-advanced";
const ALWAYS_SHOWN = "Comfy.Node.AlwaysShowAdvancedWidgets";

const definitions = new Map();

function specOf(nodeData, name) {
  const spec = nodeData.input?.required?.[name] ?? nodeData.input?.optional?.[name];
  return spec?.[1];
}

function isFolded(nodeData, widget) {
  return Boolean(specOf(nodeData, widget.name)?.advanced);
}

function isSet(nodeData, widget) {
  const spec = specOf(nodeData, widget.name);
  const usual = spec?.default ?? spec?.options?.[0];
  return isFolded(nodeData, widget) && usual !== undefined && widget.value !== usual;
}

function fitHeight(node) {
  node.setSize([node.size[0], node.computeSize()[1]]);
  node.setDirtyCanvas?.(true, true);
}

function label(button, node) {
  button.textContent = node.showAdvanced ? t("Hide advanced inputs") : t("Show advanced inputs");
  button.setAttribute("aria-expanded", String(Boolean(node.showAdvanced)));
}

function addButton(node) {
  const { button, widget } = addWideButton(node, BUTTON, () => {
    node.showAdvanced = !node.showAdvanced;
    label(button, node);
    fitHeight(node);
  });
  widget.options.canvasOnly = true; // Nodes 2.0 has a button of its own
  node.memoryV2VAdvanced = () => label(button, node);
  textsReady.then(node.memoryV2VAdvanced);
}

// A linked one stays in view, or its link would end nowhere.
function foldUnlinked(node, nodeData) {
  const folded = (node.widgets ?? []).filter((widget) => isFolded(nodeData, widget));
  for (const widget of folded) {
    const input = node.inputs?.find((held) => held.widget?.name === widget.name);
    widget.advanced = (input?.link ?? null) === null;
  }
  return folded.length > 0;
}

function fold(node, nodeData) {
  if (foldUnlinked(node, nodeData)) {
    addButton(node);
    fitHeight(node);
  }
}

// Older frontends leave room for widgets that they do not draw.
function leaveNoRoom(nodeType) {
  const { getLayoutWidgets } = nodeType.prototype;
  nodeType.prototype.getLayoutWidgets = function () {
    return getLayoutWidgets.call(this).filter((held) => !held.advanced || this.showAdvanced);
  };
}

const isAlwaysShown = () => app.extensionManager.setting.get(ALWAYS_SHOWN);

app.registerExtension({
  name: "MemoryV2V.Advanced",
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.category?.startsWith(CATEGORY)) {
      return;
    }
    const { onConfigure, onConnectionsChange } = nodeType.prototype;
    if (nodeType.prototype.getLayoutWidgets && !isAlwaysShown()) {
      definitions.set(nodeData.name, nodeData);
      leaveNoRoom(nodeType);
    }
    nodeType.prototype.onConfigure = function (info) {
      const result = onConfigure?.apply(this, arguments);
      // Whoever folded them by hand wants them folded.
      if (info.showAdvanced === undefined && this.widgets?.some((held) => isSet(nodeData, held))) {
        this.showAdvanced = true;
      }
      this.memoryV2VAdvanced?.();
      return result;
    };
    nodeType.prototype.onConnectionsChange = function () {
      if (definitions.has(nodeData.name)) {
        foldUnlinked(this, nodeData);
      }
      return onConnectionsChange?.apply(this, arguments);
    };
  },
  nodeCreated(node) {
    const nodeData = definitions.get(node.comfyClass);
    if (nodeData) {
      fold(node, nodeData);
    }
  },
});
