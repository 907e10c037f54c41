// The place where things play: the live preview, one tile, or all finished tiles in a row.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { loopUrl, pieceUrl } from "./runs.mjs";
import { nameOf } from "./words.mjs";

const STILL_MS = 3000; // a tile without a file, in a row

export class Screen {
  // `onChange()` after something else plays.
  constructor(onChange) {
    this.onChange = onChange;
    this.picture = element("img", { className: "memv2v-screen-picture", alt: "" });
    this.video = element("video", { className: "memv2v-screen-video", muted: true });
    this.video.playsInline = true;
    this.caption = element("span", { className: "memv2v-screen-caption" });
    this.element = element(
      "div", { className: "memv2v-screen" }, this.picture, this.video, this.caption,
    );
    this.video.onended = () => this.next();
    // A file that a newer run deleted.
    this.video.onerror = () => this.video.hidden || this.showLive();
    this.run = null;
    this.row = []; // tiles still to play
    this.playing = null; // "live", "tile" or "row"
    this.number = 0;
  }

  // New facts of the run; what the user chose to watch stays.
  update(run) {
    const isOther = this.run?.run !== run.run;
    this.run = run;
    if (isOther || this.playing === null || this.playing === "live") {
      this.showLive();
    }
  }

  // The preview of the piece in progress, or else the newest finished one.
  showLive() {
    this.stop();
    this.playing = "live";
    const { run } = this;
    const tiles = [...run.tiles.values()].sort((a, b) => a.number - b.number);
    const isSampled = run.state === "running" && run.preview && !run.tiles.has(run.previewed);
    if (isSampled) {
      this.showPicture(run.preview, run.total > 1 ? nameOf(run, run.previewed) : "");
    } else if (tiles.length) {
      this.showLoop(tiles.at(-1));
    } else {
      this.showPicture("", "");
    }
  }

  playTile(tile) {
    this.stop();
    this.playing = "tile";
    this.show(tile, true);
  }

  // Every finished piece, one after another.
  playRow() {
    this.stop();
    this.playing = "row";
    this.row = [...this.run.tiles.values()].sort((a, b) => a.number - b.number);
    this.isFirst = true;
    this.next();
  }

  next() {
    const tile = this.playing === "row" ? this.row.shift() : null;
    if (!tile) {
      this.showLive();
      return;
    }
    this.show(tile, false, this.isFirst ? 0 : tile.skip_s);
    this.isFirst = false;
  }

  stop() {
    clearTimeout(this.timer);
    this.row = [];
    this.video.pause();
  }

  show(tile, repeats, startS = 0) {
    this.number = tile.number;
    if (!tile.piece) {
      this.showLoop(tile);
      this.timer = repeats ? null : setTimeout(() => this.next(), STILL_MS);
      return;
    }
    this.video.hidden = false;
    this.picture.hidden = true;
    this.video.loop = repeats;
    // The browser starts at this moment of the file.
    this.video.src = pieceUrl(tile) + (startS ? `#t=${startS}` : "");
    this.video.play().catch(() => undefined); // a page that may not play shows the first frame
    this.say(nameOf(this.run, tile.number));
  }

  showLoop(tile) {
    this.number = tile.number;
    const url = tile.has_loop ? loopUrl(this.run, tile) : "";
    this.showPicture(url, this.run.total > 1 ? nameOf(this.run, tile.number) : "");
  }

  showPicture(url, caption) {
    this.video.hidden = true;
    this.picture.hidden = !url;
    if (url && this.picture.getAttribute("src") !== url) {
      this.picture.src = url;
    }
    this.picture.alt = caption || t("preview");
    this.say(caption);
  }

  say(caption) {
    this.caption.textContent = caption;
    this.onChange();
  }
}

// The screen as large as the page, until Escape, the button or a click beside it.
export function enlarge(screen) {
  const home = screen.element.parentElement;
  const close = element("button", {
    className: "memv2v-screen-close",
    type: "button",
    onclick: () => dialog.close(),
    attributes: { "aria-label": t("Close") },
  }, "✕");
  const dialog = element("dialog", {
    className: "memv2v-screen-dialog",
    attributes: { "aria-label": t("Preview") },
  }, screen.element, close);
  dialog.addEventListener("click", (fired) => fired.target === dialog && dialog.close());
  // Keys belong to the dialog, not to the canvas behind it.
  dialog.addEventListener("keydown", (fired) => fired.stopPropagation());
  dialog.addEventListener("close", () => {
    screen.video.controls = false;
    home.prepend(screen.element);
    dialog.remove();
  });
  document.body.append(dialog);
  screen.video.controls = true;
  dialog.showModal();
}
