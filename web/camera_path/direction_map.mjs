// The map of directions: degrees to the right and up around the source's first camera.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { closedPath, drag, handle, keepHandles, openPath, set, svg } from "./handles.mjs";
import { keyframeKey } from "./keyframe_keys.mjs";
import { clamp, round } from "./path_model.mjs";

const WHOLE = 360;
const LEAST = 20; // degrees across, the nearest zoom
const MARGIN = 1.25; // around what is fitted
const STEP_DEG = 1;
const CLICK_PX = 4;

export class DirectionMap {
  constructor(model, memory, { hasLabels = false, onOpen } = {}) {
    Object.assign(this, { model, memory, hasLabels, onOpen });
    this.window = { right: 0, up: 0, width: 180 };
    this.isFitted = false;
    this.build();
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.element);
  }

  build() {
    this.grid = svg("g", { class: "memv2v-path-grid" });
    this.picture = svg("image", { preserveAspectRatio: "none", opacity: 0.75 });
    this.turns = svg("g");
    this.seen = svg("path", { class: "memv2v-path-seen" });
    this.first = svg("path", { class: "memv2v-path-first" });
    this.view = svg("path", { class: "memv2v-path-view" });
    this.top = svg("path", { class: "memv2v-path-view-top" });
    this.line = svg("path", { class: "memv2v-path-line" });
    this.arrow = svg("path", { class: "memv2v-path-arrow" });
    const drawn = [this.picture, this.grid, this.turns, this.seen, this.first, this.view, this.top];
    this.svg = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    this.svg.append(...drawn, this.line, this.arrow);
    this.handles = element("div", { className: "memv2v-path-layer" });
    this.labels = element("div", { className: "memv2v-path-layer memv2v-path-labels" });
    this.element = element(
      "div",
      {
        className: "memv2v-path-map",
        title: t("Drag a keyframe to turn the view. Double-click to add one. Scroll to zoom."),
        attributes: { role: "group", "aria-label": t("Map of directions") },
      },
      this.svg,
      this.labels,
      this.handles,
    );
    this.element.addEventListener("pointerdown", (event) => this.pan(event));
    this.element.addEventListener("dblclick", (event) => this.addAt(event));
    this.element.addEventListener("wheel", (event) => this.zoomBy(event), { passive: false });
  }

  remove() {
    this.size.disconnect();
  }

  get height() {
    const { clientWidth, clientHeight } = this.element;
    return (this.window.width * (clientHeight || 1)) / (clientWidth || 1);
  }

  // Screen px to degrees: ComfyUI's zoom scales the page's px.
  get degreesPerPx() {
    return this.window.width / (this.element.getBoundingClientRect().width || 1);
  }

  // [degrees right, degrees up] to percents of the element.
  place([right, up]) {
    const { window, height } = this;
    return [
      (100 * (right - window.right + window.width / 2)) / window.width,
      (100 * (window.up + height / 2 - up)) / height,
    ];
  }

  fit() {
    const { view } = this.model;
    if (!view || !this.element.clientWidth) {
      return;
    }
    const points = [...view.views.flat(), ...view.directions];
    const [left, right] = extent(points.map(([x]) => x));
    const [down, up] = extent(points.map(([, y]) => y));
    const shape = this.element.clientWidth / (this.element.clientHeight || 1);
    const width = clamp(Math.max(right - left, (up - down) * shape) * MARGIN, 60, WHOLE);
    this.window = { right: (left + right) / 2, up: (down + up) / 2, width };
    this.isFitted = true;
    this.draw();
  }

  showAll() {
    this.window = { right: 0, up: 0, width: WHOLE };
    this.draw();
  }

  zoom(factor, at = [this.window.right, this.window.up]) {
    const { window } = this;
    const width = clamp(window.width * factor, LEAST, WHOLE);
    const share = width / window.width;
    window.right = at[0] + (window.right - at[0]) * share;
    window.up = at[1] + (window.up - at[1]) * share;
    window.width = width;
    this.draw();
  }

  zoomBy(event) {
    event.preventDefault();
    event.stopPropagation();
    this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, this.directionOf(event));
  }

  directionOf(event) {
    const box = this.element.getBoundingClientRect();
    const scale = this.degreesPerPx;
    return [
      this.window.right - this.window.width / 2 + (event.clientX - box.left) * scale,
      this.window.up + this.height / 2 - (event.clientY - box.top) * scale,
    ];
  }

  pan(event) {
    if (event.button !== 0) {
      return;
    }
    const start = { ...this.window };
    drag(this.element, event, (dx, dy) => {
      if (Math.abs(dx) + Math.abs(dy) < CLICK_PX) {
        return;
      }
      const scale = this.degreesPerPx;
      this.window.right = clamp(start.right - dx * scale, -WHOLE / 2, WHOLE / 2);
      this.window.up = clamp(start.up + dy * scale, -90, 90);
      this.draw();
    });
  }

  // Beyond the end of the path a new end, elsewhere a keyframe where the path comes nearest.
  addAt(event) {
    event.stopPropagation();
    const { model } = this;
    if (!model.view || event.target !== this.element) {
      return;
    }
    const [right, up] = this.directionOf(event);
    const near = model.view.directions.map(([x, y]) => Math.hypot(wrapped(x, right) - right, y - up));
    const frame = near.indexOf(Math.min(...near));
    const last = model.keyframes.at(-1);
    const orbit = model.view.numbers[frame][model.view.number_names.indexOf("orbit_deg")];
    const yaw = wrapped(right + orbit, model.view.directions[frame][0] + orbit);
    const changes = { yaw_deg: round(yaw), pitch_deg: round(clamp(up, -90, 90)) };
    if (model.view.times[frame] >= last.time - 1e-3) {
      model.append(changes);
    } else {
      model.add(frame, changes);
    }
  }

  draw() {
    const { model, window } = this;
    if (!this.isFitted && model.view && this.element.clientWidth) {
      this.fit();
      return;
    }
    const left = window.right - window.width / 2;
    const top = -window.up - this.height / 2;
    set(this.svg, { viewBox: `${left} ${top} ${window.width} ${this.height}` });
    this.drawGrid();
    this.drawTurns();
    this.drawPath();
    this.drawHandles();
  }

  drawGrid() {
    const step = this.window.width > 120 ? 30 : this.window.width > 40 ? 10 : 5;
    const lines = [];
    for (let x = -WHOLE; x <= WHOLE; x += step) {
      lines.push(`M${x} -90V90`);
    }
    for (let y = -90; y <= 90; y += step) {
      lines.push(`M${-WHOLE} ${y}H${WHOLE}`);
    }
    const key = `${step}`;
    if (this.gridKey !== key) {
      this.gridKey = key;
      this.grid.replaceChildren(
        svg("path", { d: lines.join("") }),
        svg("path", { d: `M0 -90V90M${-WHOLE} 0H${WHOLE}`, class: "memv2v-path-axes" }),
        svg("path", { d: "M-180 -90V90M180 -90V90", class: "memv2v-path-axes" }),
      );
    }
    this.drawLabels(step);
    const { picture } = this.memory;
    this.picture.style.display = picture ? "" : "none";
    if (picture) {
      const { url, right, up, width, height } = picture;
      set(this.picture, { href: url, x: right, y: -up, width, height });
    }
  }

  drawLabels(step) {
    const labels = [];
    if (this.hasLabels) {
      for (let degrees = -180 + step; degrees < 180; degrees += step) {
        const [x] = this.place([degrees, 0]);
        const [, y] = this.place([0, degrees]);
        if (x > 2 && x < 97) {
          labels.push(label(`${degrees}`, { left: `${x}%`, bottom: "0" }));
        }
        if (Math.abs(degrees) < 90 && y > 3 && y < 95) {
          labels.push(label(`${degrees}`, { top: `${y}%`, left: "0" }));
        }
      }
    }
    this.labels.replaceChildren(...labels, ...this.turnLabels());
  }

  // At the upper left of what a turn saw, inside the map, and no two over each other.
  turnLabels() {
    const taken = [];
    return this.memory.shown.map((turn) => {
      const [left, top] = this.place(turn.corner);
      const x = clamp(left, 0, 92);
      let y = clamp(top, 0, 92);
      const [wide, high] = this.hasLabels ? [6, 4] : [6, 12];
      while (taken.some(([a, b]) => Math.abs(a - x) < wide && Math.abs(b - y) < high)) {
        y += high;
      }
      taken.push([x, y]);
      const text = this.hasLabels ? turn.label : `${turn.number}`;
      const made = label(text, { left: `${x}%`, top: `${y}%`, background: turn.colour });
      made.classList.add("memv2v-path-turn-label");
      return made;
    });
  }

  drawTurns() {
    const { shown } = this.memory;
    if (this.drawnTurns === shown) {
      return;
    }
    this.drawnTurns = shown;
    this.turns.replaceChildren(
      ...shown.map(({ outline, colour }) =>
        svg("path", {
          d: outline.map((line) => closedPath(flipped(line))).join(""),
          class: "memv2v-path-turn",
          style: `stroke:${colour};fill:${colour}`,
        }),
      ),
    );
  }

  drawPath() {
    const { view, frame } = this.model;
    this.svg.classList.toggle("memv2v-path-unknown", !view);
    if (!view) {
      return;
    }
    set(this.seen, { d: view.seen.map((line) => closedPath(flipped(line))).join("") });
    set(this.first, { d: copies(view.views[0], closedPath) });
    set(this.view, { d: copies(view.views[frame], closedPath) });
    // The upper edge is thicker, so that a roll shows.
    set(this.top, { d: copies(view.views[frame].slice(0, 9), openPath) });
    set(this.line, { d: copies(view.directions, openPath) });
    set(this.arrow, { d: this.arrowHead(view.directions) });
  }

  arrowHead(points) {
    const end = points.at(-1);
    const before = points.findLast((point) => Math.hypot(point[0] - end[0], point[1] - end[1]) > 0.5);
    if (!before) {
      return "";
    }
    const size = (9 * this.window.width) / (this.element.clientWidth || 1);
    const angle = Math.atan2(-(end[1] - before[1]), end[0] - before[0]);
    const wing = (turn) => [
      end[0] - size * Math.cos(angle + turn),
      -end[1] - size * Math.sin(angle + turn),
    ];
    return `M${wing(0.45)}L${[end[0], -end[1]]}L${wing(-0.45)}`;
  }

  drawHandles() {
    const { model } = this;
    keepHandles(
      this.handles,
      model.keyframes.length,
      (idx) => this.makeHandle(idx),
      (made, idx) => {
        const [right, up] = this.shownAt(idx);
        const [x, y] = this.place([right, up]);
        Object.assign(made.style, { left: `${x}%`, top: `${y}%` });
        made.value = `${idx + 1}`;
        made.disabled = model.isLinked;
        made.classList.toggle("memv2v-path-selected", idx === model.selected);
        made.classList.toggle("memv2v-path-ghost", model.isPreset);
        made.setAttribute(
          "aria-label",
          t("Keyframe {number}: {right} degrees right, {up} degrees up", {
            number: idx + 1,
            right: round(model.number(idx, "yaw_deg"), 1),
            up: round(model.number(idx, "pitch_deg"), 1),
          }),
        );
        made.setAttribute("aria-pressed", `${idx === model.selected}`);
      },
    );
  }

  // Who orbits to the right turns to the left by as much.
  shownAt(idx) {
    const { model } = this;
    const yaw = model.number(idx, "yaw_deg") - model.number(idx, "orbit_deg");
    const pitch = model.number(idx, "pitch_deg");
    const isOver = Math.abs(pitch) > 90;
    const right = isOver ? yaw + 180 : yaw;
    return [wrapped(right, this.window.right), isOver ? Math.sign(pitch) * 180 - pitch : pitch];
  }

  makeHandle(idx) {
    const { model } = this;
    const turn = (right, up) => ({ keyframes }) => {
      const keyframe = keyframes[idx];
      const reach = Math.max(90, Math.abs(keyframe.pitch_deg ?? 0));
      keyframe.yaw_deg = round(clamp(right, -720, 720));
      keyframe.pitch_deg = round(clamp(up, -reach, reach));
    };
    let start;
    return handle({
      className: "memv2v-path-key",
      onStart: () => {
        start = [model.number(idx, "yaw_deg"), model.number(idx, "pitch_deg")];
        model.select(idx);
      },
      onDrag: (dx, dy, event) => {
        const scale = this.degreesPerPx;
        // With Shift along one axis.
        const isFlat = event.shiftKey && Math.abs(dx) >= Math.abs(dy);
        const right = start[0] + (event.shiftKey && !isFlat ? 0 : dx * scale);
        model.edit(turn(right, start[1] - (isFlat ? 0 : dy * scale)));
      },
      onEnd: () => model.commit(),
      onStep: (dx, dy, factor) => {
        const by = STEP_DEG * factor;
        const right = model.number(idx, "yaw_deg") + dx * by;
        model.select(idx);
        model.change(turn(right, model.number(idx, "pitch_deg") - dy * by), `turn ${idx}`);
      },
      onKey: (event) => keyframeKey(model, idx, event, this.onOpen),
    });
  }
}

function label(text, style) {
  return element("span", { style }, text);
}

function extent(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [
    Infinity,
    -Infinity,
  ]);
}

const flipped = (points) => points.map(([x, y]) => [x, -y]);

// The same degrees, in the turn that is nearest to `near`.
function wrapped(degrees, near) {
  return degrees - WHOLE * Math.round((degrees - near) / WHOLE);
}

// A line again one turn to the left and to the right: the map has no end there.
function copies(points, path) {
  return [-WHOLE, 0, WHOLE]
    .map((turn) => path(points.map(([x, y]) => [round(x + turn), -y])))
    .join("");
}
