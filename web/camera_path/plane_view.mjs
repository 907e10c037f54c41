// The path from above or from the side, in pose units: what stands where.
import { element } from "../shared/dom.mjs";
import { t } from "../shared/texts.mjs";
import { handle, keepHandles, openPath, set, svg } from "./handles.mjs";
import { keyframeKey } from "./keyframe_keys.mjs";
import { clamp, round } from "./path_model.mjs";

const MARGIN = 1.35;
const LEAST = 0.6; // pose units across
const STEP = 0.05;
const STEP_DEG = 1;
const MOST_CAMERAS = 7;
const REACH = 0.13; // of the drawn views, in parts of the width

// World axes to the right and upwards of a plane: [axis, sign]; across: the picture's axis in it.
const PLANES = {
  top: { name: "From above", right: [0, 1], up: [2, 1], across: 0 },
  side: { name: "From the side", right: [2, 1], up: [1, -1], across: 1 },
};

export class PlaneView {
  constructor(model, plane, { onOpen } = {}) {
    Object.assign(this, { model, plane: PLANES[plane], kind: plane, onOpen });
    this.isOrbit = false;
    this.window = null;
    this.build();
    this.size = new ResizeObserver(() => this.draw());
    this.size.observe(this.element);
  }

  build() {
    this.grid = svg("path", { class: "memv2v-path-grid" });
    this.line = svg("path", { class: "memv2v-path-line" });
    this.cameras = svg("path", { class: "memv2v-path-cameras" });
    this.now = svg("path", { class: "memv2v-path-view" });
    this.svg = svg("svg", { "aria-hidden": "true" });
    this.svg.append(this.grid, this.cameras, this.now, this.line);
    this.handles = element("div", { className: "memv2v-path-layer" });
    this.pivot = this.makePivot();
    this.scale = element("span", { className: "memv2v-path-scale" });
    const isTop = this.kind === "top";
    this.mode = element("input", {
      type: "button",
      className: "memv2v-path-button memv2v-path-mode",
      hidden: !isTop,
      onclick: () => {
        this.isOrbit = !this.isOrbit;
        this.draw();
      },
    });
    this.element = element(
      "div",
      { className: "memv2v-path-plane", attributes: { role: "group", "aria-label": this.title } },
      this.svg,
      element("span", { className: "memv2v-path-title" }, this.title),
      this.scale,
      this.handles,
      this.pivot,
      this.mode,
    );
  }

  get title() {
    return this.kind === "top" ? t("From above") : t("From the side");
  }

  remove() {
    this.size.disconnect();
  }

  // World point to percents of the element.
  place(point) {
    const { plane, window } = this;
    const right = plane.right[1] * point[plane.right[0]] - window.centre[0];
    const up = plane.up[1] * point[plane.up[0]] - window.centre[1];
    return [50 + (100 * right) / window.width, 50 - (100 * up) / window.height];
  }

  get unitsPerPx() {
    return this.window.width / (this.element.getBoundingClientRect().width || 1);
  }

  // All that stands somewhere, with room; a drag must not move the ground.
  fit() {
    const { model, plane } = this;
    const points = [...model.view.poses, ...model.view.keyframe_poses].map(centreOf);
    points.push([0, 0, 0]);
    if (this.showsPivot) {
      points.push([0, 0, model.document.pivot ?? 1]);
    }
    const along = ([axis, sign]) => points.map((point) => sign * point[axis]);
    const [left, right] = extent(along(plane.right));
    const [down, up] = extent(along(plane.up));
    const { clientWidth, clientHeight } = this.element;
    const shape = (clientWidth || 1) / (clientHeight || 1);
    const width = Math.max(LEAST, (right - left) * MARGIN, (up - down) * MARGIN * shape);
    this.window = {
      centre: [(left + right) / 2, (down + up) / 2],
      width,
      height: width / shape,
    };
  }

  get showsPivot() {
    return this.isOrbit || this.model.keyframes.some((keyframe) => keyframe.orbit_deg);
  }

  draw() {
    const { model } = this;
    if (!model.view || !this.element.clientWidth) {
      return;
    }
    if (!this.window || !this.isDragged) {
      this.fit();
    }
    const { width, height } = this.window;
    set(this.svg, { viewBox: `0 0 ${100 * width} ${100 * height}` });
    const units = (point) => {
      const [x, y] = this.place(point);
      return [round(x * width, 3), round(y * height, 3)];
    };
    this.drawGrid();
    set(this.line, { d: openPath(model.view.poses.map((pose) => units(centreOf(pose)))) });
    const count = Math.min(model.view.poses.length, MOST_CAMERAS);
    const shown = Array.from({ length: count }, (_, idx) =>
      Math.round((idx * (model.view.poses.length - 1)) / Math.max(count - 1, 1)),
    );
    set(this.cameras, { d: shown.map((idx) => this.wedge(model.view.poses[idx], units)).join("") });
    set(this.now, { d: this.wedge(model.view.poses[model.frame], units) });
    this.drawHandles();
  }

  drawGrid() {
    const { width, height } = this.window;
    const step = niceStep(width / 4);
    const lines = [];
    const [cx, cy] = this.window.centre;
    for (let x = Math.ceil((cx - width / 2) / step) * step; x < cx + width / 2; x += step) {
      const at = 100 * (x - cx + width / 2);
      lines.push(`M${at} 0V${100 * height}`);
    }
    for (let y = Math.ceil((cy - height / 2) / step) * step; y < cy + height / 2; y += step) {
      const at = 100 * (cy + height / 2 - y);
      lines.push(`M0 ${at}H${100 * width}`);
    }
    set(this.grid, { d: lines.join("") });
    this.scale.textContent = t("grid: {step} pose units", { step });
  }

  // Where a camera looks, as a triangle.
  wedge(pose, units) {
    const { fx, fy, cx, cy } = this.model.view.lens;
    const reach = REACH * this.window.width;
    const isAcross = this.plane.across === 0;
    const [focal, middle] = isAcross ? [fx, cx] : [fy, cy];
    const centre = centreOf(pose);
    const tip = (edge) => {
      const aside = (edge - middle) / focal;
      const local = isAcross ? [aside, 0, 1] : [0, aside, 1];
      const length = Math.hypot(...local);
      return centre.map(
        (value, row) =>
          value +
          (reach / length) *
            (pose[4 * row] * local[0] + pose[4 * row + 1] * local[1] + pose[4 * row + 2] * local[2]),
      );
    };
    return `M${units(centre)}L${units(tip(0))}L${units(tip(1))}Z`;
  }

  drawHandles() {
    const { model } = this;
    keepHandles(
      this.handles,
      model.keyframes.length,
      (idx) => this.makeHandle(idx),
      (made, idx) => {
        const [x, y] = this.place(placeOf(model, idx));
        Object.assign(made.style, { left: `${x}%`, top: `${y}%` });
        made.value = `${idx + 1}`;
        made.disabled = model.isLinked;
        made.classList.toggle("memv2v-path-selected", idx === model.selected);
        made.classList.toggle("memv2v-path-ghost", model.isPreset);
        const number = (name) => round(model.number(idx, name), 2);
        made.setAttribute(
          "aria-label",
          t("Keyframe {number}: {right} right, {up} up, {forward} forward, orbit {orbit} degrees", {
            number: idx + 1,
            right: number("truck"),
            up: number("pedestal"),
            forward: number("dolly"),
            orbit: number("orbit_deg"),
          }),
        );
      },
    );
    const [x, y] = this.place([0, 0, model.document.pivot ?? 1]);
    Object.assign(this.pivot.style, { left: `${x}%`, top: `${y}%` });
    this.pivot.hidden = !this.showsPivot;
    this.pivot.disabled = model.isLinked;
    this.mode.value = this.isOrbit ? t("Orbit") : t("Move");
    this.mode.title = t("Whether dragging moves a keyframe or turns it about the pivot");
    this.mode.setAttribute("aria-pressed", `${this.isOrbit}`);
  }

  makeHandle(idx) {
    const { model } = this;
    let start;
    return handle({
      className: "memv2v-path-key",
      onStart: (event) => {
        this.isDragged = true;
        start = { ...numbersOf(model, idx), event };
        model.select(idx);
      },
      onDrag: (dx, dy, event) => {
        const scale = this.unitsPerPx;
        if (this.isOrbit && this.kind === "top") {
          this.orbitTo(idx, event, start);
        } else {
          this.moveBy(idx, start, dx * scale, -dy * scale);
        }
      },
      onEnd: () => {
        this.isDragged = false;
        model.commit();
        this.draw();
      },
      onStep: (dx, dy, factor) => {
        model.select(idx);
        const before = numbersOf(model, idx);
        if (this.isOrbit && this.kind === "top") {
          const turned = before.orbit_deg + (dx || -dy) * STEP_DEG * factor;
          model.setNumber(idx, "orbit_deg", round(turned), `orbit ${idx}`);
        } else {
          this.moveBy(idx, before, dx * STEP * factor, -dy * STEP * factor);
          model.commit(`move ${this.kind} ${idx}`);
        }
      },
      onKey: (event) => keyframeKey(model, idx, event, this.onOpen),
    });
  }

  // World units to the right and upwards of the plane, into the numbers of the keyframe.
  moveBy(idx, start, right, up) {
    const { plane, model } = this;
    const moved = [0, 0, 0];
    moved[plane.right[0]] += plane.right[1] * right;
    moved[plane.up[0]] += plane.up[1] * up;
    const [x, y, z] = turnedBack(moved, start.orbit_deg);
    model.edit(({ keyframes }) => {
      const place = { truck: start.truck + x, pedestal: start.pedestal - y, dolly: start.dolly + z };
      for (const [name, value] of Object.entries(place)) {
        keyframes[idx][name] = round(clamp(value, -1000, 1000), 4);
      }
    });
  }

  // The angle of the pointer about the pivot.
  orbitTo(idx, event, start) {
    const { model } = this;
    const pivot = [0, 0, model.document.pivot ?? 1];
    const [x, y] = this.place(pivot);
    const box = this.element.getBoundingClientRect();
    const angle = ({ clientX, clientY }) =>
      (Math.atan2(
        clientX - (box.left + (x / 100) * box.width),
        clientY - (box.top + (y / 100) * box.height),
      ) *
        180) /
      Math.PI;
    const turned = angle(event) - angle(start.event);
    const near = turned - 360 * Math.round(turned / 360);
    model.edit(({ keyframes }) => {
      keyframes[idx].orbit_deg = round(clamp(start.orbit_deg + near, -720, 720));
    });
  }

  makePivot() {
    const { model } = this;
    let start;
    const move = (value) =>
      model.edit((document) => {
        document.pivot = round(clamp(value, 0.01, 1000), 3);
      });
    const made = handle({
      className: "memv2v-path-pivot",
      onStart: () => {
        this.isDragged = true;
        start = model.document.pivot ?? 1;
      },
      onDrag: (dx, dy) => move(start + (this.kind === "top" ? -dy : dx) * this.unitsPerPx),
      onEnd: () => {
        this.isDragged = false;
        model.commit();
        this.draw();
      },
      onStep: (dx, dy, factor) => {
        move((model.document.pivot ?? 1) + (dx - dy) * STEP * factor);
        model.commit("pivot");
      },
    });
    made.value = "\u00d7";
    made.title = t("The pivot that orbits circle");
    made.setAttribute("aria-label", made.title);
    return made;
  }
}

const numbersOf = (model, idx) =>
  Object.fromEntries(
    ["truck", "pedestal", "dolly", "orbit_deg"].map((name) => [name, model.number(idx, name)]),
  );

const centreOf = (pose) => [pose[3], pose[7], pose[11]];

// Where a keyframe stands, so that its handle moves at once; see memv2v_core's keyframes.
function placeOf(model, idx) {
  const { truck, pedestal, dolly, orbit_deg: orbit } = numbersOf(model, idx);
  const pivot = model.document.pivot ?? 1;
  const [x, , z] = turnedBack([truck, 0, dolly - pivot], -orbit);
  return [x, -pedestal, z + pivot];
}

// A world vector in the axes of a camera that has orbited.
function turnedBack([x, y, z], orbitDeg) {
  const angle = (orbitDeg * Math.PI) / 180;
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)];
  return [cosine * x + sine * z, y, cosine * z - sine * x];
}

function extent(values) {
  return [Math.min(...values), Math.max(...values)];
}

function niceStep(wanted) {
  const power = 10 ** Math.floor(Math.log10(wanted));
  const step = [5, 2, 1].find((held) => held * power <= wanted) ?? 1;
  return round(step * power, 6);
}
