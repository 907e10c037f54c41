// Buttons and sliders below the pictures of a comparison.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";

const SVG = "http://www.w3.org/2000/svg";
export const SPEEDS = [0.1, 0.25, 0.5, 1, 2];
const ICONS = {
  back: "M4 3h2v10H4zM13 3v10L7 8z",
  play: "M4 2.5v11l9-5.5z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  on: "M10 3h2v10h-2zM3 3l6 5-6 5z",
  full: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
};

function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function iconButton(name, label, onclick) {
  const properties = { type: "button", title: label, onclick, attributes: { "aria-label": label } };
  return element("button", properties, icon(name));
}

function slider(label, max, oninput) {
  return element("input", {
    type: "range",
    min: "0",
    max: String(max),
    step: "1",
    title: label,
    oninput,
    attributes: { "aria-label": label },
  });
}

export class Controls {
  // `actions`: toggle, step, show, speed, mode, opacity and full, each a function.
  constructor(actions) {
    this.play = iconButton("play", t("Play"), actions.toggle);
    this.scrubber = slider(t("Frame"), 0, () => actions.show(Number(this.scrubber.value)));
    this.counter = element("span", { className: "memv2v-compare-counter" });
    this.speed = this.makeSpeed(actions.speed);
    this.modes = this.makeModes(actions.mode);
    this.opacity = slider(t("How much of the heat map shows"), 100, () =>
      actions.opacity(Number(this.opacity.value)),
    );
    this.opacity.className = "memv2v-compare-opacity";
    const moving = element(
      "div",
      { className: "memv2v-compare-row" },
      iconButton("back", t("One frame back"), () => actions.step(-1)),
      this.play,
      iconButton("on", t("One frame on"), () => actions.step(1)),
      this.scrubber,
      this.counter,
    );
    const looking = element(
      "div",
      { className: "memv2v-compare-row" },
      element("div", { className: "memv2v-compare-modes", role: "group" }, ...this.modes),
      this.opacity,
      element("span", { className: "memv2v-compare-space" }),
      this.speed,
      iconButton("full", t("Full screen"), actions.full),
    );
    this.root = element("div", { className: "memv2v-compare-controls" }, moving, looking);
  }

  makeSpeed(onSpeed) {
    const options = SPEEDS.map((speed) =>
      element("option", { value: String(speed) }, t("{speed}x", { speed })),
    );
    const label = t("Speed");
    const properties = { title: label, attributes: { "aria-label": label } };
    const select = element("select", properties, ...options);
    select.value = "1";
    select.onchange = () => onSpeed(Number(select.value));
    return select;
  }

  makeModes(onMode) {
    const names = { wipe: t("Wipe"), side: t("Side by side"), heat: t("Heat map") };
    return Object.entries(names).map(([mode, name]) =>
      element("button", { type: "button", dataset: { mode }, onclick: () => onMode(mode) }, name),
    );
  }

  // What the player does now, as the controls show it.
  update({ frame, numFrames, isPlaying, speed, mode, opacity, hasVideos, reasonWithoutHeat }) {
    const label = isPlaying ? t("Pause") : t("Play");
    if (this.play.title !== label) {
      this.play.replaceChildren(icon(isPlaying ? "pause" : "play"));
      this.play.title = label;
      this.play.setAttribute("aria-label", label);
    }
    this.scrubber.max = String(Math.max(0, numFrames - 1));
    this.scrubber.value = String(frame);
    this.counter.textContent = hasVideos ? `${frame + 1} / ${numFrames}` : "";
    this.speed.value = String(speed);
    this.opacity.value = String(opacity);
    this.opacity.hidden = mode !== "heat";
    for (const button of this.modes) {
      const isHeat = button.dataset.mode === "heat";
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
      button.disabled = !hasVideos || (isHeat && reasonWithoutHeat !== "");
      button.title = isHeat ? reasonWithoutHeat : "";
    }
    for (const held of this.root.querySelectorAll(".memv2v-compare-row > button, input, select")) {
      held.disabled = !hasVideos;
    }
  }
}
