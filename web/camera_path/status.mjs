// What the path does in words, and which cached turns saw its view.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { round } from "./path_model.mjs";

const MOST_CHIPS = 24;
const START_DEG = 0.5; // farther from the source's first camera than this is said
const START_UNITS = 0.005;

export class Status {
  constructor(model, memory) {
    Object.assign(this, { model, memory });
    this.line = element("div", { className: "memv2v-path-words" });
    this.chips = element("div", { className: "memv2v-path-chips" });
    this.element = element(
      "div",
      { className: "memv2v-path-status", attributes: { "aria-live": "polite" } },
      this.line,
      this.chips,
    );
  }

  draw() {
    const { model } = this;
    this.line.classList.toggle("memv2v-path-error", Boolean(model.error));
    const text = this.words();
    this.line.textContent = text;
    this.line.title = text;
    this.drawChips();
  }

  words() {
    const { model } = this;
    const { view } = model;
    if (model.error) {
      return model.error.message;
    }
    if (model.isLinked && model.linkedText === null) {
      return t("The keyframes come from a link; only a run knows them.");
    }
    if (!view) {
      return t("Asking the server for the path");
    }
    const parts = [
      t("Turns {turned} degrees, moves {moved}.", {
        turned: round(view.turned_deg, 1),
        moved: round(view.moved, 2),
      }),
    ];
    if (startsElsewhere(view.poses[0])) {
      parts.push(t("It starts away from the source's first camera."));
    }
    if (model.isLinked) {
      parts.push(t("The keyframes come from a link; they cannot be edited here."));
      return parts.join(" ");
    }
    parts.push(
      model.isPreset
        ? t("The motions decide; drag a keyframe to edit.")
        : t("The keyframes decide; the motions are not used."),
    );
    return parts.join(" ");
  }

  drawChips() {
    const { memory } = this;
    const overlaps = this.model.view?.overlaps ?? [];
    if (!memory.session) {
      this.chips.textContent = t("No session is connected: no cached turns to compare with.");
      return;
    }
    if (!memory.turns.length) {
      this.chips.textContent =
        memory.notes[0] ?? t("Session {session} has no turns yet.", { session: memory.session });
      return;
    }
    const chips = overlaps
      .slice(0, MOST_CHIPS)
      .map((found) => [found, memory.turn(found.id)])
      .filter(([, turn]) => turn)
      .map(([found, turn]) => this.chip(found, turn));
    const older = memory.numOlder
      ? [element("span", {}, t("and {count} older turns", { count: memory.numOlder }))]
      : [];
    const { radius } = memory.scoring;
    const would = radius === 1 ? t("would see:") : t("would see, at radius {radius}:", { radius });
    this.chips.replaceChildren(element("span", {}, would), ...chips, ...older);
  }

  chip(found, turn) {
    const text = t("{turn}: score {score}, covers {contain} % of the view. Press to hide or show.", {
      turn: turn.label,
      score: found.score.toFixed(2),
      contain: Math.round(100 * found.contain),
    });
    const isHidden = this.memory.hidden.has(turn.id);
    return element("input", {
      type: "button",
      className: `memv2v-path-chip${isHidden ? " memv2v-path-off" : ""}`,
      value: `${turn.label} (${found.score.toFixed(2)})`,
      title: text,
      style: { borderColor: turn.colour },
      attributes: { "aria-label": text, "aria-pressed": `${!isHidden}` },
      onclick: () => this.memory.toggle(turn.id),
    });
  }
}

// The model is trained with paths that leave the source's first camera.
function startsElsewhere(pose) {
  const cosine = (pose[0] + pose[5] + pose[10] - 1) / 2;
  const turned = (Math.acos(Math.min(Math.max(cosine, -1), 1)) * 180) / Math.PI;
  return turned > START_DEG || Math.hypot(pose[3], pose[7], pose[11]) > START_UNITS;
}
