// The editor in its two sizes, over one model: small inside the node, large in a dialog.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { DirectionMap } from "./direction_map.mjs";
import { Fields } from "./fields.mjs";
import { PlaneView } from "./plane_view.mjs";
import { SpeedView } from "./speed_view.mjs";
import { Status } from "./status.mjs";
import { Timeline } from "./timeline.mjs";
import { Toolbar, button } from "./toolbar.mjs";

export function smallEditor(parts, onLarge) {
  const { model, memory, requests, motions } = parts;
  const map = new DirectionMap(model, memory, { onOpen: onLarge });
  const timeline = new Timeline(model, { onOpen: onLarge });
  const toolbar = new Toolbar(model, requests, map, motions(), { onLarge });
  const status = new Status(model, memory);
  const root = element(
    "div",
    { className: "memv2v-path" },
    toolbar.element,
    map.element,
    timeline.element,
    status.element,
  );
  return together(root, model, [map, timeline, toolbar, status]);
}

export function openLargeEditor(parts, title) {
  const { model, memory, requests, motions } = parts;
  const fields = new Fields(model);
  const onOpen = () => fields.inputs.get("yaw_deg").input.focus();
  const map = new DirectionMap(model, memory, { hasLabels: true, onOpen });
  const views = [new PlaneView(model, "top", { onOpen }), new PlaneView(model, "side", { onOpen })];
  const speed = new SpeedView(model);
  const timeline = new Timeline(model, { onOpen });
  const toolbar = new Toolbar(model, requests, map, motions());
  const status = new Status(model, memory);
  const dialog = element("dialog", {
    className: "memv2v-path memv2v-path-large",
    attributes: { "aria-label": title },
  });
  const close = button("\u2715", t("Close (Escape)"), () => dialog.close());
  dialog.append(
    element(
      "div",
      { className: "memv2v-path-head" },
      element("b", {}, title),
      toolbar.element,
      sessionMenu(parts),
      close,
    ),
    map.element,
    element("div", { className: "memv2v-path-planes" }, ...views.map((view) => view.element)),
    timeline.element,
    element("div", { className: "memv2v-path-foot" }, fields.element, speed.element),
    status.element,
  );
  const editor = together(dialog, model, [map, ...views, speed, timeline, toolbar, status, fields]);
  dialog.addEventListener("close", () => {
    editor.remove();
    dialog.remove();
    parts.onClosed?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  editor.draw();
  map.fit();
  map.handles.children[model.selected]?.focus();
  return { ...editor, dialog };
}

// Which session's turns are shown: the graph's own, or one of the sessions on disk.
function sessionMenu({ memory, sessions, refresh }) {
  const FOLLOW = "\u0000";
  const select = element("select", {
    className: "memv2v-path-select",
    title: t("Whose turns are shown"),
    attributes: { "aria-label": t("Whose turns are shown") },
  });
  const fill = (names) => {
    const follow = t("turns of the graph's session");
    const options = [[FOLLOW, follow], ["", t("no turns")], ...names.map((name) => [name, name])];
    select.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
    select.value = memory.chosen ?? FOLLOW;
  };
  fill(memory.chosen ? [memory.chosen] : []);
  sessions()
    .then(fill)
    .catch(() => undefined); // the menu keeps what the page knows
  select.onchange = async () => {
    await memory.choose(select.value === FOLLOW ? null : select.value);
    refresh();
  };
  return select;
}

function together(root, model, views) {
  let waiting = 0;
  const draw = () => {
    waiting = 0;
    root.setAttribute("aria-busy", `${model.isBusy}`);
    for (const view of views) {
      view.draw();
    }
  };
  // One drawing a frame of the screen, however often the model changes.
  const stop = model.listen(() => {
    waiting ||= requestAnimationFrame(draw);
  });
  keepKeys(root, model);
  return {
    element: root,
    draw,
    remove() {
      stop();
      cancelAnimationFrame(waiting);
      for (const view of views) {
        view.remove?.();
      }
    },
  };
}

// What is typed or dragged inside belongs to the editor. Ctrl+Z in it never reaches the graph.
function keepKeys(root, model) {
  for (const name of ["pointerdown", "wheel", "dblclick", "contextmenu"]) {
    root.addEventListener(name, (event) => event.stopPropagation());
  }
  root.addEventListener("keydown", (event) => {
    event.stopPropagation();
    // ComfyUI undoes the graph unless a text field has the focus, and a list is none for it.
    if (["Control", "Meta"].includes(event.key) && event.target.tagName === "SELECT") {
      root.querySelector("input:not(:disabled)")?.focus();
    }
    if (!(event.ctrlKey || event.metaKey) || event.altKey) {
      return;
    }
    const key = event.key.toLowerCase();
    if (key === "z" || key === "y") {
      event.preventDefault();
      model.undo(key === "y" || event.shiftKey ? 1 : -1);
    }
  });
}
