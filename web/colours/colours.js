// A colour for each of the pack's sockets and their links, in both renderings.
import { app } from "../../../scripts/app.js";

// On dark and on light canvases. No colour of ComfyUI's own sockets is among them.
const DARK = {
  MEMV2V_CAMERA: "#5ec8e5",
  MEMV2V_CACHE: "#ff9f68",
  MEMV2V_RETRIEVAL: "#ffd166",
  MEMV2V_PLAN: "#b8de6f",
  MEMV2V_ADAPTER: "#c792ea",
  MEMV2V_FITTING: "#8ea9c1",
  MEMV2V_SEGMENTS: "#4fd1a5",
  MEMV2V_SEGMENT: "#9be8cf",
};
const LIGHT = {
  MEMV2V_CAMERA: "#0b7fa3",
  MEMV2V_CACHE: "#c2410c",
  MEMV2V_RETRIEVAL: "#a16207",
  MEMV2V_PLAN: "#4d7c0f",
  MEMV2V_ADAPTER: "#7e22ce",
  MEMV2V_FITTING: "#475569",
  MEMV2V_SEGMENTS: "#047857",
  MEMV2V_SEGMENT: "#0d9488",
};
const OURS = new Set([...Object.values(DARK), ...Object.values(LIGHT)]);

// A palette that names one of our types wins.
function isFree(colour) {
  return !colour || OURS.has(colour);
}

// Frontends mark dark palettes in different ways; the background itself never lies.
function isDarkPage() {
  const context = document.createElement("canvas").getContext("2d");
  context.fillStyle = "#000";
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--bg-color");
  const channels = context.fillStyle.match(/[0-9a-f]{2}/gi) ?? [];
  const sum = channels.slice(0, 3).reduce((total, part) => total + parseInt(part, 16), 0);
  return sum < (3 * 255) / 2;
}

function colourSockets() {
  const { canvas } = app;
  const root = document.documentElement;
  const isDark = isDarkPage();
  const tables = [
    canvas?.constructor?.link_type_colors,
    canvas?.default_connection_color_byType,
  ].filter(Boolean);
  for (const [type, colour] of Object.entries(isDark ? DARK : LIGHT)) {
    for (const table of tables) {
      if (isFree(table[type]) && table[type] !== colour) {
        table[type] = colour;
      }
    }
    // Nodes 2.0 reads its slots' colours from here.
    const name = `--color-datatype-${type}`;
    const held = root.style.getPropertyValue(name).trim();
    if (isFree(held) && held !== colour) {
      root.style.setProperty(name, colour);
    }
  }
  canvas?.setDirty?.(true, true);
}

app.registerExtension({
  name: "MemoryV2V.Colours",
  setup() {
    colourSockets();
    // Another palette resets all three; ComfyUI marks the page's root with each one.
    new MutationObserver(colourSockets).observe(document.documentElement, {
      attributes: true,
      attributeFilter: ["style", "class"],
    });
  },
});
