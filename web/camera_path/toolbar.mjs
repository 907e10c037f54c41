// Buttons over the map: start from a motion, add, delete, undo, zoom, and the large editor.
import { element } from "../shared/dom.mjs";
import { showError } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { MAX_KEYFRAMES } from "./path_model.mjs";

export function button(value, title, onclick) {
  return element("input", {
    type: "button",
    className: "memv2v-path-button",
    value,
    title,
    onclick,
    attributes: { "aria-label": title },
  });
}

export class Toolbar {
  // map: zoomed by the buttons. onLarge: opens the large editor; absent in it.
  constructor(model, requests, map, motions, { onLarge } = {}) {
    Object.assign(this, { model, requests, map });
    this.start = this.startMenu(motions);
    this.add = button("+", t("Add a keyframe at this frame (Insert)"), () => model.add());
    this.drop = button("\u2212", t("Delete the selected keyframe (Delete)"), () => model.remove());
    this.undo = button("\u21b6", t("Undo (Ctrl+Z)"), () => model.undo());
    this.redo = button("\u21b7", t("Redo (Ctrl+Shift+Z)"), () => model.redo());
    this.clear = button("\u2715", t("Back to the motions"), () => model.replace(null));
    this.element = element(
      "div",
      { className: "memv2v-path-bar", attributes: { role: "toolbar" } },
      this.start,
      this.add,
      this.drop,
      this.undo,
      this.redo,
      this.clear,
      element("span", { className: "memv2v-path-gap" }),
      button("\u25a1", t("Show the whole path"), () => map.fit()),
      button("\u25ef", t("Show all directions"), () => map.showAll()),
      ...(onLarge ? [button("\u2922", t("Open the large editor"), onLarge)] : []),
    );
  }

  startMenu(motions) {
    const title = t("Start from a motion, with the amplitude, easing, speed and return of the node");
    const select = element(
      "select",
      {
        className: "memv2v-path-select",
        title,
        attributes: { "aria-label": title },
        onchange: async () => {
          const motion = select.value;
          select.value = "";
          try {
            this.model.replace(await this.requests.preset(motion));
          } catch (error) {
            showError(t("No path was made"), error);
          }
        },
      },
      element("option", { value: "" }, t("Preset")),
      ...motions.map((value) => element("option", { value }, value.replaceAll("_", " "))),
    );
    return select;
  }

  draw() {
    const { model } = this;
    this.add.disabled = model.isLinked || model.keyframes.length >= MAX_KEYFRAMES;
    this.drop.disabled = model.isLinked || model.keyframes.length < 2;
    this.undo.disabled = model.isLinked || !model.canUndo;
    this.redo.disabled = model.isLinked || !model.canRedo;
    this.clear.disabled = model.isLinked || model.isPreset;
    this.start.disabled = model.isLinked;
  }
}
