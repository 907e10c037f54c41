// The speed curve: how much of the path's time has passed at each share of the video.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { handle, keepHandles, openPath, set, svg } from "./handles.mjs";
import { clamp, round } from "./path_model.mjs";

const CUSTOM = "custom";
// Bezier handles close to the named curves, where dragging starts.
const HANDLES = {
  linear: [0.25, 0.25, 0.75, 0.75],
  ease_in: [0.36, 0, 0.67, 0.47],
  ease_out: [0.33, 0.53, 0.64, 1],
  ease_in_out: [0.36, 0, 0.64, 1],
};
const STEP = 0.01;

export const curveNames = () => ({
  linear: t("even speed"),
  ease_in: t("soft start"),
  ease_out: t("soft stop"),
  ease_in_out: t("soft start and stop"),
});

export class SpeedView {
  constructor(model) {
    this.model = model;
    this.build();
  }

  build() {
    const { model } = this;
    this.line = svg("path", { class: "memv2v-path-line" });
    this.arms = svg("path", { class: "memv2v-path-arms" });
    this.now = svg("path", { class: "memv2v-path-now" });
    this.svg = svg(
      "svg",
      { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("path", { class: "memv2v-path-grid", d: "M.25 0V1M.5 0V1M.75 0V1M0 .25H1M0 .5H1M0 .75H1" }),
      this.now,
      this.arms,
      this.line,
    );
    this.handles = element("div", { className: "memv2v-path-layer" });
    this.square = element("div", { className: "memv2v-path-curve" }, this.svg, this.handles);
    const names = { ...curveNames(), [CUSTOM]: t("by its handles") };
    this.choice = element(
      "select",
      {
        className: "memv2v-path-select",
        attributes: { "aria-label": t("Speed") },
        onchange: () => this.choose(this.choice.value),
      },
      ...Object.entries(names).map(([value, text]) => element("option", { value }, text)),
    );
    const title = element("span", { className: "memv2v-path-title" }, t("Speed"));
    this.element = element("div", { className: "memv2v-path-speed" }, title, this.square, this.choice);
    this.square.title = t("To the right the video's time, upwards the path's");
    model.listen(() => this.draw());
  }

  remove() {}

  choose(value) {
    const { model } = this;
    const curve = value === CUSTOM ? handlesOf(model.document?.curve) : value;
    model.change((document) => {
      document.curve = curve;
    });
  }

  draw() {
    const { model } = this;
    const { document, view } = model;
    if (!document || !view) {
      return;
    }
    const last = Math.max(view.num_frames - 1, 1);
    const points = view.times.map((time, idx) => [view.frames[idx] / last, 1 - time]);
    set(this.line, { d: openPath(points) });
    const at = view.frames[model.frame] / last;
    set(this.now, { d: `M${at} 0V1` });
    const isCustom = Array.isArray(document.curve);
    this.choice.value = isCustom ? CUSTOM : (document.curve ?? "linear");
    this.choice.disabled = model.isLinked;
    const [x1, y1, x2, y2] = handlesOf(document.curve);
    set(this.arms, { d: isCustom ? `M0 1L${x1} ${1 - y1}M1 0L${x2} ${1 - y2}` : "" });
    keepHandles(
      this.handles,
      2,
      (idx) => this.makeHandle(idx),
      (made, idx) => {
        const [x, y] = idx ? [x2, y2] : [x1, y1];
        Object.assign(made.style, { left: `${100 * x}%`, top: `${100 * (1 - y)}%` });
        made.disabled = model.isLinked;
        made.classList.toggle("memv2v-path-ghost", !isCustom);
        const text = idx ? t("Speed at the end") : t("Speed at the start");
        made.title = text;
        made.setAttribute("aria-label", `${text}: ${x}, ${y}`);
      },
    );
  }

  makeHandle(idx) {
    const { model } = this;
    let start;
    const move = (x, y) =>
      model.edit((document) => {
        const handles = handlesOf(document.curve).slice();
        handles[2 * idx] = round(clamp(x, 0, 1), 3);
        handles[2 * idx + 1] = round(clamp(y, 0, 1), 3);
        document.curve = handles;
      });
    const now = () => handlesOf(model.document?.curve).slice(2 * idx, 2 * idx + 2);
    return handle({
      className: "memv2v-path-mark",
      onStart: () => {
        start = now();
      },
      onDrag: (dx, dy) => {
        const box = this.square.getBoundingClientRect();
        move(start[0] + dx / (box.width || 1), start[1] - dy / (box.height || 1));
      },
      onEnd: () => model.commit(),
      onStep: (dx, dy, factor) => {
        const [x, y] = now();
        move(x + dx * STEP * factor, y - dy * STEP * factor);
        model.commit(`curve ${idx}`);
      },
    });
  }
}

const handlesOf = (curve) => (Array.isArray(curve) ? curve : (HANDLES[curve] ?? HANDLES.linear));
