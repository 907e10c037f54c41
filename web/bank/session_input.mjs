// The `session` input: a list of the sessions on disk, and free typing of a new name.
import { app } from "../../../scripts/app.js";
import { element, useStyles } from "../shared/dom.mjs";
import { getJson } from "../shared/server.mjs";
import { inputLabel, t } from "../shared/texts.mjs";
import { loadSessions, watchSessions } from "./store.mjs";
import { turnsWords, whenWords } from "./words.mjs";

// The schema asks for this widget; the value is a STRING as before.
export const SESSION_WIDGET = "MEMV2V_SESSION";

const HEIGHT = 42;
const MARGIN = 2; // around it in the classic rendering
const MIN_WIDTH = 320;
const ASK_AFTER_MS = 120;
const DEFAULT_SETTING = "MemoryV2V.DefaultSession";

useStyles(new URL("./session_input.css", import.meta.url));

export function sessionWidget(node, name, inputData) {
  const whole = HEIGHT + 2 * MARGIN;
  const combo = new SessionCombo(inputLabel(node, name));
  combo.set(inputData?.[1]?.default || defaultSession());
  const widget = node.addDOMWidget(name, SESSION_WIDGET, combo.element, {
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => whole,
    getMaxHeight: () => whole,
    getValue: () => combo.value,
    setValue: (value) => combo.set(value),
  });
  widget.computeLayoutSize = () => ({ minHeight: whole, maxHeight: whole, minWidth: 0 });
  combo.onChange = (value) => {
    widget.value = value; // calls the callback, too
    node.graph?.setDirtyCanvas?.(true, true);
  };
  const onRemove = widget.onRemove;
  widget.onRemove = () => {
    onRemove?.call(widget);
    combo.remove();
  };
  return { widget, minWidth: MIN_WIDTH, minHeight: whole };
}

// Only a newly placed node keeps this: a workflow that is opened brings its own value.
function defaultSession() {
  return app.extensionManager?.setting?.get(DEFAULT_SETTING) ?? "";
}

let numMade = 0;

class SessionCombo {
  constructor(label) {
    numMade += 1;
    this.id = `memv2v-session-${numMade}`;
    this.value = "";
    this.sessions = [];
    this.refused = null;
    this.active = -1;
    this.onChange = () => undefined;
    this.build(label);
    this.stop = watchSessions((sessions) => this.know(sessions));
  }

  build(label) {
    this.input = element("input", {
      type: "text",
      className: "memv2v-session-input",
      placeholder: t("name of a session"),
      spellcheck: false,
      autocomplete: "off",
      attributes: {
        role: "combobox",
        "aria-label": label,
        "aria-expanded": "false",
        "aria-autocomplete": "list",
        "aria-controls": `${this.id}-list`,
        "aria-describedby": `${this.id}-hint`,
      },
    });
    const arrow = element("button", {
      type: "button",
      className: "memv2v-session-arrow",
      textContent: "\u25be",
      tabIndex: -1,
      title: t("Show the sessions on this machine"),
      attributes: { "aria-label": t("Show the sessions on this machine") },
      onclick: () => this.toggle(),
      onmousedown: (event) => event.preventDefault(), // the focus stays in the field
    });
    this.hint = element("div", { className: "memv2v-session-hint", id: `${this.id}-hint` });
    const row = element(
      "div",
      { className: "memv2v-session-row" },
      element("span", { className: "memv2v-session-label" }, label),
      this.input,
      arrow,
    );
    this.element = element("div", { className: "memv2v-session" }, row, this.hint);
    this.list = element("div", {
      className: "memv2v-session-list",
      id: `${this.id}-list`,
      hidden: true,
      attributes: { role: "listbox", "aria-label": label },
    });
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.input.addEventListener("blur", () => this.close());
    this.element.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.element.addEventListener("wheel", () => this.close(), { passive: true });
  }

  set(value) {
    this.value = String(value ?? "");
    if (this.input.value !== this.value) {
      this.input.value = this.value;
    }
    this.check();
  }

  know(sessions) {
    this.sessions = sessions;
    this.showHint();
    if (!this.list.hidden) {
      this.fillList();
    }
  }

  typed() {
    this.onChange(this.input.value.trim());
    this.open(true);
  }

  // Why the server will refuse the name, a moment after the last key.
  check() {
    clearTimeout(this.asking);
    this.refused = null;
    const name = this.value;
    if (!name || this.sessions.some((session) => session.name === name)) {
      this.showHint();
      return;
    }
    this.asking = setTimeout(async () => {
      const { refused } = await getJson(`/session_name?name=${encodeURIComponent(name)}`).catch(() => ({}));
      if (this.value === name) {
        this.refused = refused ?? null;
        this.showHint();
        if (!this.list.hidden) {
          this.fillList();
        }
      }
    }, ASK_AFTER_MS);
    this.showHint();
  }

  showHint() {
    const held = this.sessions.find(({ name }) => name === this.value);
    let text = "";
    if (this.refused) {
      text = this.refused;
    } else if (held) {
      text = t("{turns}, the newest {when}", { turns: turnsWords(held.num_turns), when: whenWords(held.newest_s) });
    } else if (this.value) {
      text = t("a new session");
    }
    this.hint.textContent = text;
    this.hint.title = text;
    this.element.classList.toggle("memv2v-session-refused", Boolean(this.refused));
    this.input.setAttribute("aria-invalid", String(Boolean(this.refused)));
  }

  toggle() {
    if (this.list.hidden) {
      this.input.focus();
      this.open(false);
    } else {
      this.close();
    }
  }

  // isTyping: only names that hold what was typed.
  open(isTyping) {
    this.filter = isTyping ? this.value.toLowerCase() : "";
    this.active = -1;
    if (this.list.hidden) {
      loadSessions();
    }
    this.fillList();
  }

  fillList() {
    const found = this.sessions.filter(({ name }) => name.toLowerCase().includes(this.filter));
    const rows = found.map((session, index) => this.option(session, index));
    if (this.refused) {
      rows.unshift(element("div", { className: "memv2v-session-why", attributes: { role: "alert" } }, this.refused));
    } else if (!rows.length) {
      rows.push(element("div", { className: "memv2v-session-none" }, this.noneText()));
    }
    this.found = found;
    this.list.replaceChildren(...rows);
    this.place();
    this.mark();
  }

  noneText() {
    return this.sessions.length
      ? t("No session has this name; the next run makes it.")
      : t("No session is on this machine yet. Type a name for the first one.");
  }

  option({ name, num_turns, newest_s, model_name, problem }, index) {
    const facts = problem || `${turnsWords(num_turns)} · ${whenWords(newest_s)}`;
    return element(
      "div",
      {
        className: "memv2v-session-option",
        id: `${this.id}-${index}`,
        title: problem || (model_name ?? ""),
        attributes: { role: "option", "aria-selected": String(name === this.value) },
        onmousedown: (event) => {
          event.preventDefault();
          this.choose(name);
        },
      },
      element("span", { className: "memv2v-session-name" }, name),
      element("span", { className: "memv2v-session-facts" }, facts),
    );
  }

  // Below the field, over everything: a node's box would cut it off.
  place() {
    const box = this.input.getBoundingClientRect();
    const below = window.innerHeight - box.bottom;
    Object.assign(this.list.style, {
      left: `${box.left}px`,
      minWidth: `${Math.max(box.width, 220)}px`,
      maxHeight: `${Math.min(280, Math.max(below, box.top) - 16)}px`,
      top: below > 160 || below > box.top ? `${box.bottom + 2}px` : "auto",
      bottom: below > 160 || below > box.top ? "auto" : `${window.innerHeight - box.top + 2}px`,
    });
    document.body.append(this.list);
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
  }

  close() {
    this.list.hidden = true;
    this.list.remove();
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  choose(name) {
    this.input.value = name;
    this.onChange(name);
    this.close();
  }

  mark() {
    const options = [...this.list.querySelectorAll("[role=option]")];
    options.forEach((option, index) => option.classList.toggle("memv2v-session-active", index === this.active));
    const chosen = options[this.active];
    if (chosen) {
      chosen.scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", chosen.id);
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey) {
      return; // Ctrl+Enter runs the graph, as everywhere
    }
    event.stopPropagation();
    const isOpen = !this.list.hidden;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (!isOpen) {
        this.open(false);
      }
      const count = this.found.length;
      this.active = count ? (this.active + step + count + (this.active < 0 && step < 0 ? 1 : 0)) % count : -1;
      this.mark();
    } else if (event.key === "Enter") {
      if (isOpen && this.found[this.active]) {
        this.choose(this.found[this.active].name);
      } else {
        this.close();
      }
      event.preventDefault();
    } else if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      this.close();
    }
  }

  remove() {
    clearTimeout(this.asking);
    this.stop();
    this.close();
  }
}
