// The widget `keyframes` of Camera Trajectory: a STRING that the editor writes.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { useStyles } from "../shared/dom.mjs";
import { after } from "../shared/hooks.mjs";
import { getJson } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { openLargeEditor, smallEditor } from "./editor.mjs";
import { MemoryTurns } from "./memory_turns.mjs";
import { PathModel } from "./path_model.mjs";
import { PathRequests, WATCHED } from "./path_requests.mjs";

// The schema asks for this widget; the value is a STRING.
export const PATH_WIDGET = "MEMV2V_CAMERA_PATH";

const HEIGHT = 222;
const MARGIN = 4; // around it in the classic rendering
const MIN_WIDTH = 320;

export function pathWidget(node, name) {
  for (const name of ["camera_path.css", "large_editor.css"]) {
    useStyles(new URL(name, import.meta.url));
  }
  const editor = new NodeEditor(node, name);
  const whole = HEIGHT + 2 * MARGIN;
  const { element, model } = editor;
  const widget = node.addDOMWidget(name, PATH_WIDGET, element, {
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => whole,
    getMaxHeight: () => whole,
    getValue: () => model.text,
    setValue: (value) => model.setText(typeof value === "string" ? value : ""),
  });
  widget.computeLayoutSize = () => ({ minHeight: whole, maxHeight: whole, minWidth: 0 });
  const fixed = `${HEIGHT}px`;
  Object.assign(element.style, { height: fixed, minHeight: fixed, maxHeight: fixed });
  after(widget, "onRemove", () => editor.remove());
  editor.follow(widget);
  return { widget, minWidth: MIN_WIDTH, minHeight: whole };
}

class NodeEditor {
  constructor(node, name) {
    Object.assign(this, { node, name, large: null });
    this.model = new PathModel();
    this.memory = new MemoryTurns(node, this.model);
    this.requests = new PathRequests(node, this.model, () => ({
      session: this.memory.session,
      aspect: this.memory.aspect,
      scoring: this.memory.scoring,
    }));
    this.parts = {
      model: this.model,
      memory: this.memory,
      requests: this.requests,
      motions: () => motionsOf(node),
      sessions: async () => (await getJson("/sessions")).sessions.map((session) => session.name),
      refresh: () => this.requests.ask(),
      onClosed: () => this.closed(),
    };
    this.small = smallEditor(this.parts, () => this.open());
    this.element = this.small.element;
    this.memory.onChange = (isOtherShape) => {
      this.model.tell("look");
      if (isOtherShape) {
        this.requests.ask();
      }
    };
    this.listening = new AbortController();
  }

  follow(widget) {
    const { node, model, requests } = this;
    let known = model.text;
    model.listen((what) => {
      if (what === "path") {
        requests.ask();
        if (known !== model.text) {
          known = model.text;
          widget.callback?.(known);
          node.graph?.setDirtyCanvas?.(true, true);
        }
      }
      if (what === "step") {
        rememberGraph();
      }
      if (what === "view") {
        this.memory.lookAtPicture();
      }
    });
    // Other widgets come before and after this one; a workflow fills all of them at once.
    setTimeout(() => this.watch());
    after(node, "onConfigure", () => setTimeout(() => this.look()));
    after(node, "onConnectionsChange", () => setTimeout(() => this.look()));
    // Elsewhere in the graph another session may be named; pictures and turns come with a run.
    this.element.addEventListener("pointerenter", () => this.look(), this.listening);
    this.hear("graphChanged", () => this.look());
    this.hear("execution_success", () => this.look(true));
  }

  hear(name, listener) {
    api.addEventListener(name, listener);
    this.listening.signal.addEventListener("abort", () => api.removeEventListener(name, listener));
  }

  watch() {
    for (const widget of this.node.widgets ?? []) {
      if (WATCHED.includes(widget.name)) {
        after(widget, "callback", () => this.requests.ask());
      }
    }
    this.look();
  }

  async look(isFresh = false) {
    const { node, model, memory } = this;
    const isOther = model.setLinked(...linkOf(node, this.name));
    const isNew = (await memory.look(isFresh)) || isOther || !model.view;
    // Without a text there is nothing to ask for.
    if (isNew && model.askedText !== null) {
      this.requests.ask();
    }
    model.tell("look");
  }

  open() {
    if (!this.large) {
      this.large = openLargeEditor(this.parts, t("Camera path"));
      this.look();
    }
  }

  closed() {
    this.large = null;
    this.element.querySelector(".memv2v-path-key")?.focus({ preventScroll: true });
  }

  remove() {
    this.listening.abort();
    this.large?.dialog.close();
    this.small.remove();
  }
}

// A step here is a step of the graph's own undo, too: ComfyUI looks for changes after a click or a
// key alone, and the editor keeps both to itself.
function rememberGraph() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) {
    tracker.captureCanvasState();
  } else {
    tracker?.checkState?.();
  }
}

// Whether a link brings the path, and its text where a node with one text field holds it.
function linkOf(node, name) {
  const slot = node.inputs?.findIndex((held) => held.name === name) ?? -1;
  if (slot < 0 || node.inputs[slot].link == null) {
    return [false, null];
  }
  const widgets = node.getInputNode?.(slot)?.widgets ?? [];
  const text = widgets.length === 1 ? widgets[0].value : null;
  return [true, typeof text === "string" ? text : null];
}

function motionsOf(node) {
  const values = node.widgets?.find((widget) => widget.name === "motion")?.options?.values;
  return Array.isArray(values) ? values : [];
}
