// The pictures of two videos in one place: wipe, side by side, or a heat map over the second.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";

export const MODES = ["wipe", "side", "heat"];
const KEY_STEP = 1;
const LARGE_KEY_STEP = 10;

function videoLayer(name) {
  return element("video", {
    className: `memv2v-compare-${name}`,
    muted: true,
    playsInline: true,
    preload: "auto",
    disablePictureInPicture: true,
  });
}

export class Stage {
  constructor() {
    this.first = videoLayer("first");
    this.second = videoLayer("second");
    this.heat = videoLayer("heat");
    this.names = ["first", "second"].map((side) =>
      element("span", { className: `memv2v-compare-name memv2v-compare-name-${side}` }),
    );
    this.divider = this.makeDivider();
    this.box = element(
      "div",
      { className: "memv2v-compare-box" },
      ...[this.first, this.second, this.heat, ...this.names, this.divider],
    );
    this.message = element("div", { className: "memv2v-compare-message" });
    this.root = element("div", { className: "memv2v-compare-stage" }, this.box, this.message);
    this.aspect = 1;
    this.mode = "wipe";
    this.setWipe(50);
    this.setOpacity(70);
    this.box.addEventListener("pointerdown", (event) => this.drag(event));
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this.root);
  }

  makeDivider() {
    const divider = element("div", {
      className: "memv2v-compare-divider",
      tabIndex: 0,
      attributes: {
        role: "slider",
        "aria-label": t("Divider of the wipe"),
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        "aria-orientation": "horizontal",
      },
    });
    divider.addEventListener("keydown", (event) => this.dividerKey(event));
    return divider;
  }

  dividerKey(event) {
    const step = event.shiftKey ? LARGE_KEY_STEP : KEY_STEP;
    const places = {
      ArrowLeft: this.wipe - step,
      ArrowDown: this.wipe - step,
      ArrowRight: this.wipe + step,
      ArrowUp: this.wipe + step,
      PageDown: this.wipe - LARGE_KEY_STEP,
      PageUp: this.wipe + LARGE_KEY_STEP,
      Home: 0,
      End: 100,
    };
    if (event.key in places) {
      this.setWipe(places[event.key]);
      event.preventDefault();
      event.stopPropagation();
    }
  }

  drag(event) {
    if (this.mode !== "wipe" || event.button !== 0) {
      return;
    }
    const move = (moved) => {
      const { left, width } = this.box.getBoundingClientRect();
      this.setWipe(((moved.clientX - left) / width) * 100);
    };
    this.box.setPointerCapture(event.pointerId);
    this.box.addEventListener("pointermove", move);
    const stop = () => this.box.removeEventListener("pointermove", move);
    this.box.addEventListener("pointerup", stop, { once: true });
    this.box.addEventListener("pointercancel", stop, { once: true });
    move(event);
    this.divider.focus({ preventScroll: true });
    event.preventDefault();
  }

  // Where the second video begins, in percent of the width.
  setWipe(percent) {
    this.wipe = Math.min(100, Math.max(0, percent));
    this.box.style.setProperty("--memv2v-wipe", `${this.wipe}%`);
    this.divider.setAttribute("aria-valuenow", String(Math.round(this.wipe)));
  }

  setOpacity(percent) {
    this.opacity = percent;
    this.box.style.setProperty("--memv2v-heat", String(percent / 100));
  }

  setMode(mode) {
    this.mode = mode;
    this.root.dataset.mode = mode;
    this.divider.tabIndex = mode === "wipe" ? 0 : -1;
    this.fit();
  }

  // The largest box of the pictures' shape in the stage.
  fit() {
    const { clientWidth: width, clientHeight: height } = this.root;
    const aspect = this.mode === "side" ? 2 * this.aspect : this.aspect;
    const fitted = Math.min(width, height * aspect);
    this.box.style.width = `${Math.floor(fitted)}px`;
    this.box.style.height = `${Math.floor(fitted / aspect)}px`;
  }

  // Shows two videos; `urls` has first, second and heat, which may be null.
  load(urls, names, aspect) {
    this.aspect = aspect;
    for (const layer of ["first", "second", "heat"]) {
      if (urls[layer]) {
        this[layer].src = urls[layer];
      } else {
        this[layer].removeAttribute("src");
      }
    }
    this.names.forEach((held, idx) => (held.textContent = names[idx]));
    this.say("");
    this.fit();
  }

  // A text in place of the pictures; "" shows the pictures.
  say(text) {
    this.message.textContent = text;
    this.message.hidden = text === "";
    this.box.hidden = text !== "";
  }

  release() {
    this.sizes.disconnect();
    for (const video of [this.first, this.second, this.heat]) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  }
}
