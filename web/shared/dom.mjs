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

// A panel that is no input: it is neither saved nor sent. `height` is fixed, so that no rendering
// lets it grow over the node below; what is longer scrolls inside.
export function addPanel(node, name, content, height) {
  const widget = node.addDOMWidget(name, "MEMV2V_PANEL", content, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
    getMaxHeight: () => height,
    getValue: () => undefined,
    setValue: () => undefined,
  });
  widget.serialize = false;
  widget.serializeValue = () => undefined;
  widget.computeLayoutSize = () => ({ minHeight: height, maxHeight: height, minWidth: 0 });
  content.style.height = `${height}px`;
  // What is typed or dragged inside belongs to the panel, not to the canvas.
  for (const event of ["keydown", "pointerdown", "wheel", "dblclick"]) {
    content.addEventListener(event, (fired) => fired.stopPropagation());
  }
  return widget;
}
