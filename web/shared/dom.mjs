// Elements, and panels below a node's widgets that work in both renderings.

// `element("button", { className: "memv2v-button", onclick }, "Pin")`
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { dataset, style, attributes, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.dataset, dataset ?? {});
  Object.assign(made.style, style ?? {});
  for (const [name, value] of Object.entries(attributes ?? {})) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A style sheet beside a module: `useStyles(new URL("./bank.css", import.meta.url))`, once a page.
export function useStyles(url) {
  const href = String(url);
  if (![...document.styleSheets].some((sheet) => sheet.href === href)) {
    document.head.append(element("link", { rel: "stylesheet", href }));
  }
}

// What the classic rendering leaves free around a DOM widget, in px.
const MARGIN = 10;

// A panel that is no input: it is neither saved nor sent. `height` is fixed, so that no rendering
// lets it grow over the node below; what is longer scrolls inside.
export function addPanel(node, name, content, height) {
  const widget = node.addDOMWidget(name, "MEMV2V_PANEL", content, {
    serialize: false,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: () => height + 2 * MARGIN,
    getMaxHeight: () => height + 2 * MARGIN,
    getValue: () => undefined,
    setValue: () => undefined,
  });
  widget.serialize = false;
  widget.serializeValue = () => undefined;
  const whole = height + 2 * MARGIN;
  widget.computeLayoutSize = () => ({ minHeight: whole, maxHeight: whole, minWidth: 0 });
  // Nodes 2.0 lets a widget grow with its content, whatever its height says.
  const fixed = `${height}px`;
  Object.assign(content.style, { height: fixed, minHeight: fixed, maxHeight: fixed });
  // What is typed or dragged inside belongs to the panel, not to the canvas.
  for (const event of ["keydown", "pointerdown", "wheel", "dblclick"]) {
    content.addEventListener(event, (fired) => fired.stopPropagation());
  }
  return widget;
}
