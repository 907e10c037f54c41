// The Memory Bank: turns and segments as cards, in nodes and in the sidebar; sessions in a list.
import { app } from "../../../scripts/app.js";
import { textsReady } from "../shared/texts.mjs";
import { addBankPanel } from "./node_panel.mjs";
import { SESSION_WIDGET, sessionWidget } from "./session_input.mjs";
import { registerBankTab } from "./sidebar.mjs";
import { followRuns } from "./store.mjs";

app.registerExtension({
  name: "MemoryV2V.Bank",
  getCustomWidgets() {
    return { [SESSION_WIDGET]: sessionWidget };
  },
  async setup() {
    followRuns();
    await textsReady;
    registerBankTab();
  },
  nodeCreated(node) {
    addBankPanel(node);
  },
});
