// The Memory Bank below the widgets of a node that names a session.
import { addPanel } from "../shared/dom.mjs";
import { after } from "../shared/hooks.mjs";
import { t } from "../shared/texts.mjs";
import { setWidget } from "./actions.mjs";
import { linkedNode, rememberSession, sessionOf, widgetNamed } from "./redo/holder.mjs";
import { makersChanged } from "./redo/makers.mjs";
import { BankView } from "./view.mjs";

// Height of the panel by node, in px.
const HEIGHTS = {
  MemoryCache: 200,
  MemV2VEditLongVideo: 166,
  MemV2VReshootVideo: 166,
};
// Widgets that decide which cards a node makes again.
const REDO_WIDGETS = ["redo", "redo_seed", "seed", "paths"];

export function addBankPanel(node) {
  const height = HEIGHTS[node.comfyClass];
  const widget = widgetNamed(node, "session");
  if (!height || !widget) {
    return;
  }
  const view = new BankView(node, (name) => setWidget(node, widget, name));
  addPanel(node, "memory_bank", view.element, height);
  const show = () => {
    showSession(node, view);
    makersChanged();
  };
  after(widget, "callback", show);
  after(node, "onConnectionsChange", () => setTimeout(show));
  after(node, "onConfigure", () => setTimeout(show));
  after(node, "onRemoved", () => {
    view.remove();
    makersChanged();
  });
  after(node, "onExecuted", (output) => {
    const [name] = output?.session ?? [];
    if (name) {
      rememberSession(node, name);
      show();
    }
  });
  for (const name of REDO_WIDGETS) {
    const held = widgetNamed(node, name);
    if (held) {
      after(held, "callback", makersChanged);
    }
  }
  setTimeout(show);
}

function showSession(node, view) {
  const name = sessionOf(node);
  if (linkedNode(node)) {
    view.show(name, t("The session's name comes from a link. The sidebar shows every session."));
  } else if (node.comfyClass === "MemoryCache") {
    view.show(name, t("Without a session this cache lives in the graph only. Choose one to keep its turns."));
  } else {
    view.show(name, t("The session takes the name of the clip. Its turns appear here after a run."));
  }
}
