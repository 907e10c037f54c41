// The report of a node: a box of fixed height below its widgets, which scrolls inside.
import { addPanel, element, useStyles } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";

const NAME = "memory_v2v_text";
const HEIGHT = 88;
const COPIED_MS = 1500;

useStyles(new URL("./reports.css", import.meta.url));

const panels = new WeakMap();

// Show a text on a node. `isOld` where it was made before the page was loaded.
export function showReport(node, text, isOld = false) {
  const panel = panels.get(node) ?? addReport(node);
  panel.body.textContent = text;
  panel.head.textContent = isOld ? t("Report from the last run") : t("Report");
  panel.root.classList.toggle("memv2v-report-old", isOld);
}

function addReport(node) {
  const head = element("span", { className: "memv2v-report-head" });
  const body = element("div", {
    className: "memv2v-report-text",
    tabIndex: 0,
    attributes: { role: "region", "aria-label": t("Report") },
  });
  const copy = element("button", {
    className: "memv2v-report-copy",
    type: "button",
    onclick: () => copyText(body, copy),
  }, t("Copy"));
  const bar = element("div", { className: "memv2v-report-bar" }, head, copy);
  const root = element("div", { className: "memv2v-report" }, bar, body);
  // ComfyUI would copy the selected nodes in place of the selected words.
  root.addEventListener("copy", (fired) => fired.stopPropagation());
  addPanel(node, NAME, root, HEIGHT);
  const panel = { root, head, body };
  panels.set(node, panel);
  return panel;
}

async function copyText(body, button) {
  try {
    await navigator.clipboard.writeText(body.textContent);
    button.textContent = t("Copied");
  } catch {
    // A page that is not on this machine may not write; the user copies what is selected.
    getSelection().selectAllChildren(body);
    button.textContent = t("Press Ctrl+C");
  }
  setTimeout(() => (button.textContent = t("Copy")), COPIED_MS);
}
