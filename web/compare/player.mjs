// The player of a comparison: two videos, one play head, three ways to look at them.
import { element, useStyles } from "../shared/dom.mjs";
import { viewUrl } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { Controls, SPEEDS } from "./controls.mjs";
import { PlayHead } from "./play_head.mjs";
import { MODES, Stage } from "./stage.mjs";

export class Player {
  constructor() {
    useStyles(new URL("./compare.css", import.meta.url));
    this.stage = new Stage();
    this.head = new PlayHead(() => this.update());
    this.controls = new Controls({
      toggle: () => this.head.toggle(),
      step: (count) => this.head.step(count),
      show: (frame) => this.head.show(frame),
      speed: (speed) => this.head.setSpeed(speed),
      mode: (mode) => this.setMode(mode),
      opacity: (percent) => this.setOpacity(percent),
      full: () => this.toggleFullScreen(),
    });
    this.verdict = element("div", { className: "memv2v-compare-verdict" });
    this.root = element(
      "div",
      {
        className: "memv2v-compare",
        tabIndex: 0,
        attributes: { role: "group", "aria-label": t("Video comparison") },
      },
      ...[this.verdict, this.stage.root, this.controls.root],
    );
    this.root.addEventListener("keydown", (event) => this.onKey(event));
    for (const layer of ["first", "second"]) {
      this.stage[layer].addEventListener("error", () => this.onMissing());
    }
    this.stage.setMode("wipe");
    this.stage.say(t("Press Run: both videos are shown here, with one play head."));
    this.update();
  }

  // Shows what the node has written; `shown` is its "memory_v2v_compare".
  async load(shown) {
    this.shown = shown;
    const { first, second, heat } = shown;
    const urls = { first: viewUrl(first), second: viewUrl(second), heat: heat && viewUrl(heat) };
    this.verdict.textContent = this.verdict.title = shown.verdict;
    this.stage.load(urls, [first.name, second.name], shown.width / shown.height);
    await this.setMode(heat || this.stage.mode !== "heat" ? this.stage.mode : "wipe");
  }

  // A file may be gone, or the browser may lack its codec.
  async onMissing() {
    if (!this.shown) {
      return;
    }
    const shown = this.shown;
    const answer = await fetch(viewUrl(shown.first), { method: "HEAD" }).catch(() => null);
    if (shown !== this.shown) {
      return;
    }
    this.shown = null;
    this.head.follow([], 0, 1);
    if (!answer) {
      this.stage.say(t("ComfyUI does not answer. Start it again, then press Run."));
    } else if (!answer.ok) {
      this.stage.say(
        t("These videos were temporary and are gone since ComfyUI started again. Press Run."),
      );
    } else {
      this.stage.say(t("This browser cannot play H.264 video. Open ComfyUI in another browser."));
    }
    this.update();
  }

  async setMode(mode) {
    this.stage.setMode(mode);
    if (this.shown) {
      const { first, second, heat } = this.stage;
      const videos = mode === "heat" ? [first, second, heat] : [first, second];
      await this.head.follow(videos, this.shown.num_frames, this.shown.frame_rate);
    }
    this.update();
  }

  setOpacity(percent) {
    this.stage.setOpacity(percent);
    this.update();
  }

  toggleFullScreen() {
    if (document.fullscreenElement === this.root) {
      document.exitFullscreen();
    } else {
      this.root.requestFullscreen().then(() => this.root.focus());
    }
  }

  changeSpeed(step) {
    const idx = SPEEDS.indexOf(this.head.speed) + step;
    this.head.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, idx))]);
  }

  update() {
    const { frame, numFrames, isPlaying, speed } = this.head;
    const { mode, opacity } = this.stage;
    const hasVideos = Boolean(this.shown);
    const reasonWithoutHeat = this.shown?.heat ? "" : (this.shown?.verdict ?? t("Press Run first"));
    this.controls.update({
      ...{ frame, numFrames, isPlaying, speed, mode, opacity, hasVideos, reasonWithoutHeat },
    });
  }

  onKey(event) {
    const { target, key } = event;
    const isRange = target.type === "range";
    const isOwn =
      target.tagName === "SELECT" ||
      (target.tagName === "BUTTON" && [" ", "Enter"].includes(key)) ||
      (isRange && (key.startsWith("Arrow") || ["Home", "End"].includes(key)));
    if (!this.shown || isOwn || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const action = this.actionOf(key);
    if (action) {
      action();
      event.preventDefault();
    }
  }

  actionOf(key) {
    const mode = MODES[["1", "2", "3"].indexOf(key)];
    if (mode) {
      return mode !== "heat" || this.shown.heat ? () => this.setMode(mode) : undefined;
    }
    return {
      " ": () => this.head.toggle(),
      ",": () => this.head.step(-1),
      ".": () => this.head.step(1),
      ArrowLeft: () => this.head.step(-1),
      ArrowRight: () => this.head.step(1),
      Home: () => this.head.show(0),
      End: () => this.head.show(this.head.numFrames - 1),
      "[": () => this.changeSpeed(-1),
      "]": () => this.changeSpeed(1),
      f: () => this.toggleFullScreen(),
    }[key.length === 1 ? key.toLowerCase() : key];
  }

  release() {
    this.head.pause();
    this.shown = null;
    this.stage.release();
  }
}
