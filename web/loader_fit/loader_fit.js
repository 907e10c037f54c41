// The loader's built-in model fits the node that it feeds; where it does not, the node says so at
// once, and what it lacks, before Run.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { placedNodes } from "../shared/places.mjs";
import { textsReady } from "../shared/texts.mjs";
import { sourcesOf, valueOf } from "./links.mjs";
import {
  editsBy,
  FITTING,
  isUser,
  LOADER,
  needOf,
  problemOf,
  problemOfLoader,
  WORDS,
} from "./needs.mjs";
import { warn } from "./warning.mjs";

// Whether the user has chosen the model of a loader; saved with the workflow.
const PROPERTY = "memory_v2v_model";
const FOLLOWS = "follows";
const CHOSEN = "chosen";

const isLoader = (node) => node.comfyClass === LOADER;
const modelWidget = (node) => node.widgets?.find((widget) => widget.name === "model_name");

let isOurs = false;

function setModel(loader, modelName) {
  const widget = modelWidget(loader);
  if (widget.value === modelName || !widget.options.values.includes(modelName)) {
    return;
  }
  isOurs = true;
  try {
    widget.value = modelName;
    widget.callback?.(modelName, app.canvas, loader);
  } finally {
    isOurs = false;
  }
  loader.setDirtyCanvas?.(true, true);
}

// What the nodes behind each loader need, the first one that says so first.
function needsOfLoaders(users) {
  const needs = new Map();
  for (const { node, loaders } of users) {
    const need = needOf(node);
    for (const loader of need ? loaders : []) {
      needs.set(loader, [...(needs.get(loader) ?? []), need]);
    }
  }
  return needs;
}

function fit(loader, needs) {
  if (loader.properties[PROPERTY] !== FOLLOWS || !modelWidget(loader)) {
    return;
  }
  const readsText = loader.outputs?.some((slot) => slot.type === "CLIP" && slot.links?.length);
  const [need] = [...(needs ?? []), ...(readsText ? [WORDS] : [])];
  if (need && editsBy(modelWidget(loader).value) !== need) {
    setModel(loader, FITTING[need]);
  }
}

function check() {
  const placed = [...new Set([...placedNodes()].map(([, node]) => node))];
  const users = placed.filter(isUser).map((node) => ({
    node,
    loaders: sourcesOf(node, "model", isLoader).map(([loader]) => loader),
  }));
  const needs = needsOfLoaders(users);
  placed.filter(isLoader).forEach((loader) => fit(loader, needs.get(loader)));
  for (const { node, loaders } of users) {
    const names = [...new Set(loaders.map((loader) => valueOf(loader, "model_name")))];
    const problems = names.map((name) => problemOf(node, name)).filter(Boolean);
    warn(node, problems[0] ?? "");
  }
  placed.filter(isLoader).forEach((loader) => warn(loader, problemOfLoader(loader)));
}

let isPlanned = false;

// Many changes at once, as when a workflow opens, are looked at once.
function plan() {
  if (!isPlanned) {
    isPlanned = true;
    setTimeout(() => {
      isPlanned = false;
      check();
    }, 50);
  }
}

function watchChoice(loader) {
  const widget = modelWidget(loader);
  if (!widget) {
    return;
  }
  loader.properties[PROPERTY] ??= FOLLOWS;
  const { callback } = widget;
  widget.callback = function () {
    if (!isOurs) {
      loader.properties[PROPERTY] = CHOSEN;
    }
    plan();
    return callback?.apply(this, arguments);
  };
}

app.registerExtension({
  name: "MemoryV2V.LoaderFit",
  async setup() {
    await textsReady;
    api.addEventListener("graphChanged", plan);
  },
  async beforeRegisterNodeDef(nodeType, nodeData) {
    if (nodeData.name !== LOADER && !isUser({ comfyClass: nodeData.name })) {
      return;
    }
    const { onConnectionsChange, onConfigure } = nodeType.prototype;
    nodeType.prototype.onConnectionsChange = function () {
      plan();
      return onConnectionsChange?.apply(this, arguments);
    };
    nodeType.prototype.onConfigure = function (info) {
      // A loader of a workflow that says nothing of it is as its author chose it.
      if (nodeData.name === LOADER && !(PROPERTY in (info.properties ?? {}))) {
        this.properties[PROPERTY] = CHOSEN;
      }
      plan();
      return onConfigure?.apply(this, arguments);
    };
  },
  nodeCreated(node) {
    if (isLoader(node)) {
      watchChoice(node);
    }
  },
  afterConfigureGraph: plan,
});
