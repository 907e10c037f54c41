// Handles to drag: real controls over a drawing, with focus, arrow keys and names for screen
// readers. They are <input> elements because ComfyUI leaves Ctrl+Z alone while one has the focus.
import { element } from "../shared/dom.mjs";

const ARROWS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

// onDrag(dx, dy, event): screen px since the start, already free of ComfyUI's zoom.
// onStep(dx, dy, factor): one arrow key; factor 10 with Shift, 0.1 with Alt.
export function handle({ className, onStart, onDrag, onEnd, onStep, onKey }) {
  const made = element("input", { type: "button", className: `memv2v-path-handle ${className}` });
  made.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    made.focus({ preventScroll: true });
    onStart?.(event);
    drag(made, event, onDrag, onEnd);
  });
  made.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (step && onStep) {
      event.preventDefault();
      onStep(...step, event.shiftKey ? 10 : event.altKey ? 0.1 : 1);
    } else if (onKey?.(event)) {
      event.preventDefault();
    }
  });
  return made;
}

export function drag(target, start, onDrag, onEnd) {
  const listening = new AbortController();
  const { signal } = listening;
  target.setPointerCapture(start.pointerId);
  const move = (event) => onDrag(event.clientX - start.clientX, event.clientY - start.clientY, event);
  target.addEventListener("pointermove", move, { signal });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    target.addEventListener(
      name,
      (event) => {
        listening.abort();
        onEnd?.(event);
      },
      { signal },
    );
  }
}

// As many handles in `layer` as there are things; `make(idx)` makes one, `place(handle, idx)` puts
// it where it belongs. Handles stay, so that a drag or the focus outlives a redraw.
export function keepHandles(layer, count, make, place) {
  while (layer.children.length > count) {
    layer.lastChild.remove();
  }
  while (layer.children.length < count) {
    layer.append(make(layer.children.length));
  }
  for (const [idx, made] of [...layer.children].entries()) {
    place(made, idx);
  }
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

export function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  return made;
}

export const closedPath = (points) => (points.length ? `M${points.join("L")}Z` : "");
export const openPath = (points) => (points.length ? `M${points.join("L")}` : "");
