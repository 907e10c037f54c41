// The Memory Bank as a tab of ComfyUI's sidebar: any session of this machine.
import { app } from "../../../scripts/app.js";
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { sessionOf, widgetNamed } from "./redo/holder.mjs";
import { watchSessions } from "./store.mjs";
import { BankView } from "./view.mjs";
import { turnsWords, whenWords } from "./words.mjs";

export function registerBankTab() {
  let open = null;
  app.extensionManager.registerSidebarTab({
    id: "memory-v2v-bank",
    icon: "pi pi-images",
    title: t("Memory Bank"),
    tooltip: t("Memory Bank: the turns of all sessions"),
    type: "custom",
    render: (container) => {
      open?.remove();
      open = new BankTab(container);
    },
    destroy: () => {
      open?.remove();
      open = null;
    },
  });
}

class BankTab {
  constructor(container) {
    this.view = new BankView(null, (name) => this.choose(name));
    this.choice = element("select", {
      className: "memv2v-bank-choice",
      onchange: () => this.choose(this.choice.value),
      attributes: { "aria-label": t("Session") },
    });
    const head = element(
      "div",
      { className: "memv2v-bank-head" },
      element("h2", {}, t("Memory Bank")),
      this.choice,
    );
    this.root = element("div", { className: "memv2v-bank-tab" }, head, this.view.element);
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    // ComfyUI gives it no height of its own, and the list would be as long as its cards.
    container.style.height = "100%";
    container.replaceChildren(this.root);
    this.stop = watchSessions((sessions) => this.list(sessions));
  }

  list(sessions) {
    const chosen = this.view.session ?? sessionOfSelection() ?? sessions[0]?.name ?? "";
    const options = sessions.map(({ name, num_turns, newest_s }) =>
      element("option", { value: name }, `${name} · ${turnsWords(num_turns)} · ${whenWords(newest_s)}`),
    );
    if (chosen && !sessions.some(({ name }) => name === chosen)) {
      options.unshift(element("option", { value: chosen }, chosen));
    }
    this.choice.replaceChildren(...options);
    this.choice.hidden = !options.length;
    this.choose(chosen);
  }

  choose(name) {
    if (![...this.choice.options].some((option) => option.value === name) && name) {
      this.choice.prepend(element("option", { value: name }, name));
    }
    this.choice.value = name;
    this.view.show(name, t("No session is on this machine yet. Give Memory Cache or Edit Long Video a session's name."));
  }

  remove() {
    this.stop();
    this.view.remove();
    this.root.remove();
  }
}

// The session of the selected node, else of the first node that names one.
function sessionOfSelection() {
  const selected = Object.values(app.canvas.selected_nodes ?? {});
  const nodes = [...selected, ...(app.canvas.graph ?? app.graph).nodes];
  for (const node of nodes) {
    const name = widgetNamed(node, "memory_bank") && sessionOf(node);
    if (name) {
      return name;
    }
  }
  return undefined;
}
