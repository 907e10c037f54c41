// Exact numbers of the selected keyframe and of the path, and the list of all keyframes.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { EASES, LIMITS, clamp, round } from "./path_model.mjs";
import { curveNames } from "./speed_view.mjs";

// Names and steps, in the order of the page.
const names = () => [
  ["time", t("time %"), 1],
  ["yaw_deg", t("pan right"), 1],
  ["pitch_deg", t("tilt up"), 1],
  ["roll_deg", t("roll right"), 1],
  ["orbit_deg", t("orbit right"), 1],
  ["truck", t("move right"), 0.05],
  ["pedestal", t("move up"), 0.05],
  ["dolly", t("move forward"), 0.05],
];
const PERCENT = 100;

export class Fields {
  constructor(model) {
    this.model = model;
    this.inputs = new Map();
    this.build();
  }

  build() {
    const { model } = this;
    this.title = element("span", { className: "memv2v-path-title" });
    for (const [name, text, step] of names()) {
      this.inputs.set(name, this.field(text, step, (value) => this.setNumber(name, value)));
    }
    for (const [name, text, step] of [
      ["pivot", t("pivot ahead"), 0.1],
      ["speed", t("speed"), 0.05],
    ]) {
      this.inputs.set(name, this.field(text, step, (value) => this.setOfPath(name, value)));
    }
    this.ease = element(
      "select",
      {
        className: "memv2v-path-select",
        onchange: () =>
          model.change(({ keyframes }) => {
            keyframes[model.selected].ease = this.ease.value;
          }),
      },
      ...EASES.map((value) =>
        element("option", { value }, { smooth: t("smooth through"), ...curveNames() }[value]),
      ),
    );
    const of = (...wanted) => wanted.map((name) => this.inputs.get(name).row);
    this.next = element(
      "label",
      { className: "memv2v-path-field" },
      element("span", {}, t("to the next")),
      this.ease,
    );
    this.element = element(
      "div",
      { className: "memv2v-path-fields" },
      this.title,
      ...of("time", "yaw_deg", "pitch_deg", "roll_deg", "truck", "pedestal", "dolly", "orbit_deg"),
      this.next,
      element("span", { className: "memv2v-path-title" }, t("The whole path")),
      ...of("pivot", "speed"),
    );
  }

  field(text, step, onChange) {
    const input = element("input", {
      type: "number",
      step: `${step}`,
      onchange: () => {
        const value = input.valueAsNumber;
        if (Number.isFinite(value)) {
          onChange(value);
        }
        this.draw();
      },
    });
    return { input, row: element("label", { className: "memv2v-path-field" }, element("span", {}, text), input) };
  }

  setNumber(name, value) {
    const { model } = this;
    if (name === "time") {
      model.change((document) => model.setTime(document, model.selected, value / PERCENT));
    } else {
      model.setNumber(model.selected, name, value);
    }
  }

  setOfPath(name, value) {
    this.model.change((document) => {
      document[name] = clamp(value, ...LIMITS[name]);
    });
  }

  draw() {
    const { model } = this;
    const { document, selected } = model;
    if (!document || !model.keyframes.length) {
      return;
    }
    this.title.textContent = t("Keyframe {number} of {total}", {
      number: selected + 1,
      total: model.keyframes.length,
    });
    for (const [name, { input }] of this.inputs) {
      const isOfPath = name === "pivot" || name === "speed";
      const value = isOfPath ? (document[name] ?? 1) : model.number(selected, name);
      const shown = name === "time" ? round(value * PERCENT, 2) : round(value, 4);
      input.disabled = model.isLinked;
      // Not while somebody types into it.
      if (window.document.activeElement !== input || input.valueAsNumber !== shown) {
        input.value = `${shown}`;
      }
    }
    this.ease.value = model.keyframes[selected].ease ?? "smooth";
    this.ease.disabled = model.isLinked || selected === model.keyframes.length - 1;
  }
}
