// The Memory Bank below the widgets of a node that names a session.
import { addPanel } from "../shared/dom.mjs";
import { after } from "../shared/hooks.mjs";
import { t } from "../shared/texts.mjs";
import { redoWidget, setWidget } from "./actions.mjs";
import { BankView } from "./view.mjs";

// Height of the panel by node, in px.
const HEIGHTS = {
  MemoryCache: 200,
  MemV2VEditLongVideo: 166,
  MemV2VReshootVideo: 166,
};
const USED = "memv2v_session"; // the session that the last run named after the clip

export function addBankPanel(node) {
  const height = HEIGHTS[node.comfyClass];
  const widget = sessionWidget(node);
  if (!height || !widget) {
    return;
  }
  const view = new BankView(node, (name) => setWidget(node, widget, name));
  addPanel(node, "memory_bank", view.element, height);
  const show = () => showSession(node, view);
  after(widget, "callback", show);
  after(node, "onConnectionsChange", () => setTimeout(show));
  after(node, "onConfigure", () => setTimeout(show));
  after(node, "onRemoved", () => view.remove());
  after(node, "onExecuted", (output) => {
    const [name] = output?.session ?? [];
    if (name) {
      node.properties[USED] = name;
      show();
    }
  });
  const redo = redoWidget(node);
  if (redo) {
    after(redo, "callback", () => view.redraw());
  }
  setTimeout(show);
}

function showSession(node, view) {
  const source = linkedNode(node);
  if (source) {
    // A text node that holds the name can be followed; anything else is known to the run alone.
    const value = source.widgets?.[0]?.value;
    const known = typeof value === "string" && source.widgets.length === 1 ? value : "";
    view.show(known, t("The session's name comes from a link. The sidebar shows every session."));
    return;
  }
  const name = sessionWidget(node).value.trim();
  if (name) {
    view.show(name);
  } else if (node.comfyClass === "MemoryCache") {
    view.show("", t("Without a session this cache lives in the graph only. Choose one to keep its turns."));
  } else {
    view.show(
      node.properties?.[USED] ?? "",
      t("The session takes the name of the clip. Its turns appear here after a run."),
    );
  }
}

function sessionWidget(node) {
  return node.widgets?.find((widget) => widget.name === "session");
}

function linkedNode(node) {
  const slot = node.inputs?.findIndex((input) => input.name === "session") ?? -1;
  return slot < 0 || node.inputs[slot].link == null ? null : node.getInputNode(slot);
}
