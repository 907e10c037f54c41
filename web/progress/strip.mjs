// The filmstrip: a tile for each finished piece, which plays larger when it is chosen.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { loopUrl } from "./runs.mjs";
import { nameOf, outcomeText } from "./words.mjs";

export class Strip {
  // `onChoose(tile)`: of a click or Enter; of Escape without a tile.
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.element = element("div", {
      className: "memv2v-strip",
      attributes: { role: "group", "aria-label": t("Finished so far") },
      onkeydown: (fired) => this.pressed(fired),
    });
    this.run = null;
  }

  update(run) {
    if (this.run !== run) {
      this.run = run;
      this.element.replaceChildren();
    }
    const isAtEnd = this.element.scrollLeft + this.element.clientWidth >= this.element.scrollWidth - 8;
    const shown = new Set([...this.element.children].map((made) => Number(made.dataset.number)));
    for (const tile of [...run.tiles.values()].sort((a, b) => a.number - b.number)) {
      if (!shown.has(tile.number)) {
        this.element.append(this.made(tile));
      }
    }
    if (isAtEnd) {
      this.element.scrollLeft = this.element.scrollWidth;
    }
  }

  mark(number) {
    for (const made of this.element.children) {
      made.setAttribute("aria-pressed", String(Number(made.dataset.number) === number));
    }
  }

  made(tile) {
    const words = `${nameOf(this.run, tile.number)}${t(", ")}${outcomeText(tile.outcome)}`;
    const picture = element("img", { alt: "", loading: "lazy", draggable: false });
    if (tile.has_loop) {
      picture.src = loopUrl(this.run, tile);
    }
    return element(
      "button",
      {
        className: `memv2v-tile memv2v-tile-${tile.outcome}`,
        type: "button",
        title: words,
        // One stop of the Tab key; arrow keys go from tile to tile.
        tabIndex: this.element.children.length ? -1 : 0,
        dataset: { number: tile.number },
        attributes: { "aria-label": words, "aria-pressed": "false" },
        onclick: () => this.onChoose(tile),
      },
      picture,
      element("span", { className: "memv2v-tile-number" }, String(tile.number)),
      element("span", { className: "memv2v-tile-badge" }, outcomeText(tile.outcome)),
    );
  }

  pressed(fired) {
    const tiles = [...this.element.children];
    const at = tiles.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tiles.length - 1 }[fired.key];
    if (fired.key === "Escape") {
      this.onChoose(null);
    } else if (at >= 0 && tiles[to]) {
      tiles[at].tabIndex = -1;
      tiles[to].tabIndex = 0;
      tiles[to].focus();
      fired.preventDefault();
    }
  }
}
