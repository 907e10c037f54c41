// Small pictures on buttons, 16 x 16, drawn in the colour of the text.
const PATHS = {
  pin: "M6 1.5h4l-.6 4.6 2.6 2.4v1.5H4V8.5l2.6-2.4zM8 10v4.5",
  forget: "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.7 9h6.6l.7-9M6.7 7v4.5M9.300 7v4.5",
  branch: "M4.5 5v6M4.5 5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM4.5 14a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM11.5 6a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3zM11.5 6c0 3-7 2-7 4.5",
  redo: "M13 3v3.5H9.5M12.7 6.5A5 5 0 1 0 13 9",
  source: "M2 8h8M7 5l3 3-3 3M10 2.5h3.5v11H10",
  refresh: "M13 3v3.5H9.5M3 13V9.5h3.5M3.6 6A5 5 0 0 1 12.6 6M12.4 10a5 5 0 0 1-9 0",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("memv2v-icon");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
