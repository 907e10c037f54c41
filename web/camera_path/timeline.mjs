// The video's time: a scrubber with a play button, and a mark for each keyframe to drag.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { handle, keepHandles } from "./handles.mjs";
import { frameAt, keyframeKey } from "./keyframe_keys.mjs";
import { clamp, round } from "./path_model.mjs";

const FRAMES_A_SECOND = 16; // the rate at which Wan's videos play

export class Timeline {
  constructor(model, { onOpen } = {}) {
    Object.assign(this, { model, onOpen });
    this.timer = null;
    this.build();
  }

  build() {
    const { model } = this;
    this.play = element("input", {
      type: "button",
      className: "memv2v-path-button",
      onclick: () => (this.timer ? this.stop() : this.start()),
    });
    this.range = element("input", {
      type: "range",
      className: "memv2v-path-range",
      min: "0",
      step: "1",
      attributes: { "aria-label": t("Frame") },
      oninput: () => {
        this.stop();
        model.setFrame(Number(this.range.value));
      },
    });
    this.marks = element("div", { className: "memv2v-path-layer memv2v-path-marks" });
    this.track = element("div", { className: "memv2v-path-track" }, this.range, this.marks);
    this.count = element("span", { className: "memv2v-path-count" });
    this.element = element(
      "div",
      { className: "memv2v-path-timeline" },
      this.play,
      this.track,
      this.count,
    );
    this.showButton();
  }

  start() {
    const { model } = this;
    const frames = model.view?.frames.length ?? 1;
    const isAtEnd = model.frame >= frames - 1;
    // Drawn frames stand for more than one where the video is long.
    const step = (1000 / FRAMES_A_SECOND) * ((model.view?.num_frames ?? 1) / frames);
    model.setFrame(isAtEnd ? 0 : model.frame);
    this.timer = setInterval(() => {
      if (!this.element.isConnected) {
        this.stop();
        return;
      }
      model.setFrame((model.frame + 1) % (model.view?.frames.length ?? 1));
    }, step);
    this.showButton();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.showButton();
  }

  remove() {
    this.stop();
  }

  showButton() {
    const text = this.timer ? t("Pause") : t("Play the path");
    Object.assign(this.play, { value: this.timer ? "\u2016" : "\u25b6", title: text });
    this.play.setAttribute("aria-label", text);
  }

  draw() {
    const { model } = this;
    const { view } = model;
    if (!view) {
      return;
    }
    this.range.max = `${view.frames.length - 1}`;
    this.range.value = `${model.frame}`;
    this.range.setAttribute("aria-valuetext", this.words());
    this.count.textContent = `${view.frames[model.frame] + 1}/${view.num_frames}`;
    keepHandles(
      this.marks,
      model.keyframes.length,
      (idx) => this.makeMark(idx),
      (made, idx) => this.placeMark(made, idx),
    );
  }

  words() {
    const { view, frame } = this.model;
    return t("frame {frame} of {total}", { frame: view.frames[frame] + 1, total: view.num_frames });
  }

  placeMark(made, idx) {
    const { model } = this;
    const share = shareOf(model.view.times, model.keyframes[idx].time);
    made.style.left = `${100 * (share ?? 1)}%`;
    made.style.top = "50%";
    made.disabled = model.isLinked;
    made.classList.toggle("memv2v-path-selected", idx === model.selected);
    made.classList.toggle("memv2v-path-ghost", model.isPreset);
    const time = round(100 * model.keyframes[idx].time, 1);
    const text = share === null
      ? t("Keyframe {number} at {time} % of the path, after the end of the video", {
          number: idx + 1,
          time,
        })
      : t("Keyframe {number} at {time} % of the path", { number: idx + 1, time });
    made.title = text;
    made.setAttribute("aria-label", text);
    made.setAttribute("aria-pressed", `${idx === model.selected}`);
  }

  makeMark(idx) {
    const { model } = this;
    let start;
    const move = (time, key) => {
      model.edit((document) => model.setTime(document, idx, time));
      if (key) {
        model.commit(key);
      }
    };
    return handle({
      className: "memv2v-path-mark",
      onStart: () => {
        this.stop();
        start = shareOf(model.view.times, model.keyframes[idx].time) ?? 1;
        model.select(idx);
      },
      onDrag: (dx) => {
        const width = this.track.getBoundingClientRect().width || 1;
        move(timeAt(model.view.times, start + dx / width));
      },
      onEnd: () => model.commit(),
      onStep: (dx, dy, factor) => {
        model.select(idx);
        const step = factor / Math.max((model.view?.num_frames ?? 2) - 1, 1);
        move(model.keyframes[idx].time + (dx - dy) * step, `time ${idx}`);
      },
      onKey: (event) => {
        if (event.key === "Home") {
          model.setFrame(frameAt(model, idx));
          return true;
        }
        return keyframeKey(model, idx, event, this.onOpen);
      },
    });
  }
}

// Which share of the video has passed when the path reaches a time; null where it never does.
function shareOf(times, time) {
  const after = times.findIndex((held) => held >= time - 1e-9);
  if (after < 0) {
    return null;
  }
  if (after === 0 || times.length < 2) {
    return 0;
  }
  const gap = times[after] - times[after - 1];
  return (after - 1 + (gap > 0 ? (time - times[after - 1]) / gap : 1)) / (times.length - 1);
}

function timeAt(times, share) {
  const at = clamp(share, 0, 1) * (times.length - 1);
  const from = Math.min(Math.floor(at), times.length - 2);
  return from < 0 ? 0 : times[from] + (times[from + 1] - times[from]) * (at - from);
}
