// The panel of a run: the screen, a line about how far it is, and the filmstrip.
import { addPanel, element, useStyles } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { Screen, enlarge } from "./screen.mjs";
import { Strip } from "./strip.mjs";
import { basisOf, lineOf, nameOf } from "./words.mjs";

const NAME = "memory_v2v_progress";
// With the filmstrip, and of a run of one piece, which has none.
const HEIGHT = 164;
const HEIGHT_OF_ONE = 104;

useStyles(new URL("./progress.css", import.meta.url));

const panels = new WeakMap();

export function showRun(node, run) {
  const panel = panels.get(node) ?? new Panel(node, run);
  panels.set(node, panel);
  panel.update(run);
}

class Panel {
  constructor(node, run) {
    this.screen = new Screen(() => this.played());
    this.strip = new Strip((tile) => (tile ? this.screen.playTile(tile) : this.screen.showLive()));
    this.line = element("div", { className: "memv2v-progress-line" });
    this.basis = element("div", { className: "memv2v-progress-basis" });
    this.bar = element("progress", { className: "memv2v-progress-bar" });
    this.spoken = element("div", {
      className: "memv2v-progress-spoken",
      attributes: { role: "status" },
    });
    this.play = button(t("Play"), t("Play what is finished"), () => this.toggleRow());
    this.larger = button("⤢", t("Enlarge"), () => enlarge(this.screen));
    const actions = element("div", { className: "memv2v-progress-actions" }, this.play, this.larger);
    const side = element(
      "div", { className: "memv2v-progress-side" }, this.line, this.bar, this.basis, actions,
    );
    const top = element("div", { className: "memv2v-progress-top" }, this.screen.element, side);
    const root = element(
      "div",
      { className: "memv2v-progress", attributes: { role: "group", "aria-label": t("Progress") } },
      top,
      this.spoken,
    );
    if (run.total > 1) {
      root.append(this.strip.element);
    }
    this.node = node;
    addPanel(node, NAME, root, run.total > 1 ? HEIGHT : HEIGHT_OF_ONE);
  }

  update(run) {
    this.run = run;
    this.line.textContent = lineOf(run);
    this.line.title = this.line.textContent;
    this.basis.textContent = run.state === "running" ? basisOf(run) : "";
    this.bar.hidden = run.state !== "running";
    this.bar.value = doneShare(run);
    // Steps are seen; pieces and the end are also said.
    const said = run.state === "running" ? finishedText(run) : lineOf(run);
    if (said !== this.spoken.textContent) {
      this.spoken.textContent = said;
    }
    this.strip.update(run);
    this.screen.update(run);
    this.played();
  }

  toggleRow() {
    if (this.screen.playing === "row") {
      this.screen.showLive();
    } else {
      this.screen.playRow();
    }
  }

  played() {
    const { screen, run } = this;
    if (!run) {
      return;
    }
    const isRow = screen.playing === "row";
    this.play.textContent = isRow ? `■ ${t("Stop")}` : `▶ ${t("Play")}`;
    this.play.hidden = run.total === 1 || !run.tiles.size;
    this.larger.hidden = screen.picture.hidden && screen.video.hidden;
    this.strip.mark(isRow || screen.playing === "tile" ? screen.number : 0);
  }
}

function doneShare(run) {
  const isFinished = run.tiles.has(run.number);
  const step = !isFinished && run.steps ? run.step / run.steps : 0;
  return Math.min((run.tiles.size + step) / run.total, 1);
}

function finishedText(run) {
  const last = Math.max(0, ...run.tiles.keys());
  return last ? t("{name} is finished", { name: nameOf(run, last) }) : "";
}

function button(text, title, onclick) {
  const attributes = { "aria-label": title };
  const properties = { className: "memv2v-progress-button", type: "button", title, attributes };
  return element("button", { ...properties, onclick }, text);
}
