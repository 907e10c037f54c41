// The source's first frame, bent onto the map of directions: the nearest picture that the page has
// of what is connected to `clip`.
import { app } from "../../../scripts/app.js";
import { element } from "../shared/dom.mjs";
import { viewUrl } from "../shared/server.mjs";

const MOST_STEPS = 40; // nodes upstream
const PX_PER_DEG = 4; // of the bent picture
const MOST_PX = 640;
const LOAD_MS = 4000;
const FILE_WIDGETS = ["file", "image", "video"];
const MOVING = /\.(mp4|webm|mov|mkv|m4v|avi)(?:$|[ ?[])/i;

// The node at the input `clip`; null where none is connected.
export function sourceNode(node) {
  return upstream(node, (input) => input.name === "clip")[0] ?? null;
}

// { url, right, up, width, height, size, key } on the map; null without a picture; undefined where
// it is the one of `knownKey`.
export async function sourcePicture(node, lens, knownKey) {
  const source = sourceNode(node);
  const address = source && lens ? addressNear(source) : null;
  const key = address ? `${address} ${JSON.stringify(lens)}` : "";
  if (key === knownKey) {
    return undefined;
  }
  if (!address) {
    return null;
  }
  const frame = await loaded(address).catch(() => null);
  const width = frame?.videoWidth || frame?.naturalWidth || frame?.width;
  const height = frame?.videoHeight || frame?.naturalHeight || frame?.height;
  if (!width || !height) {
    return { key };
  }
  return { ...bent(frame, width, height, lens), size: { aspect: width / height }, key };
}

function addressNear(source) {
  const seen = new Set([source]);
  const queue = [source];
  for (let steps = 0; queue.length && steps < MOST_STEPS; steps += 1) {
    const at = queue.shift();
    const address = addressOf(at) ?? addressDownstream(at);
    if (address) {
      return address;
    }
    for (const next of upstream(at, () => true)) {
      if (!seen.has(next)) {
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return null;
}

// A preview of the same clip may stand beside the path, as Preview Image or Save Video.
function addressDownstream(node) {
  const graph = node.graph ?? app.graph;
  for (const output of node.outputs ?? []) {
    if (!["IMAGE", "VIDEO"].includes(output.type)) {
      continue;
    }
    for (const id of output.links ?? []) {
      const address = shownOf(graph.getNodeById(graph.links.get(id)?.target_id));
      if (address) {
        return address;
      }
    }
  }
  return null;
}

function addressOf(node) {
  return shownOf(node) ?? fileOf(node);
}

// What ComfyUI shows on a node after a run.
function shownOf(node) {
  const output = node && app.nodeOutputs?.[node.id];
  const file = (output?.images ?? output?.gifs ?? output?.video ?? [])[0];
  if (!file?.filename || (file.type !== "output" && file.type !== "temp" && file.type !== "input")) {
    return node?.imgs?.[0]?.src ?? null;
  }
  return viewUrl(file);
}

// A loader's file lies in the input folder.
function fileOf(node) {
  const value = node.widgets?.find((widget) => FILE_WIDGETS.includes(widget.name))?.value;
  if (typeof value !== "string" || !/\.\w{2,5}(?: \[\w+\])?$/.test(value)) {
    return null;
  }
  const [, path, type = "input"] = value.match(/^(.*?)(?: \[(\w+)\])?$/);
  const cut = path.lastIndexOf("/");
  const subfolder = cut < 0 ? "" : path.slice(0, cut);
  return viewUrl({ filename: path.slice(cut + 1), subfolder, type });
}

function upstream(node, isWanted) {
  const graph = node.graph ?? app.graph;
  return (node.inputs ?? [])
    .filter((input) => input.link != null && isWanted(input))
    .map((input) => graph.getNodeById(graph.links?.get?.(input.link)?.origin_id))
    .filter(Boolean);
}

function loaded(address) {
  const name = new URL(address, location.href).searchParams.get("filename") ?? address;
  const isMoving = MOVING.test(name);
  const made = element(isMoving ? "video" : "img", isMoving ? { muted: true, preload: "auto" } : {});
  return new Promise((done, failed) => {
    setTimeout(failed, LOAD_MS);
    made.onerror = failed;
    made[isMoving ? "onloadeddata" : "onload"] = () => done(made);
    made.src = address;
  });
}

// Each pixel of the map takes the pixel of the frame that its direction shows; see `view_outlines`.
function bent(frame, width, height, { fx, fy, cx, cy }) {
  const right = toDeg(Math.atan((1 - cx) / fx));
  const left = toDeg(Math.atan(-cx / fx));
  const up = toDeg(Math.atan(cy / fy));
  const down = toDeg(Math.atan((cy - 1) / fy));
  const scale = Math.min(PX_PER_DEG, MOST_PX / Math.max(right - left, up - down));
  const columns = Math.ceil((right - left) * scale);
  const rows = Math.ceil((up - down) * scale);
  const from = pixelsOf(frame, columns, rows);
  const canvas = element("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d");
  const to = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row += 1) {
    const pitch = toRad(up - ((row + 0.5) / rows) * (up - down));
    for (let column = 0; column < columns; column += 1) {
      const yaw = toRad(left + ((column + 0.5) / columns) * (right - left));
      const x = fx * Math.tan(yaw) + cx;
      const y = cy - (fy * Math.tan(pitch)) / Math.cos(yaw);
      if (x < 0 || x >= 1 || y < 0 || y >= 1) {
        continue;
      }
      const at = 4 * (Math.floor(y * rows) * columns + Math.floor(x * columns));
      to.data.set(from.subarray(at, at + 4), 4 * (row * columns + column));
    }
  }
  context.putImageData(to, 0, 0);
  return { url: canvas.toDataURL("image/png"), right: left, up, width: right - left, height: up - down };
}

function pixelsOf(frame, columns, rows) {
  const canvas = element("canvas", { width: columns, height: rows });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(frame, 0, 0, columns, rows);
  return context.getImageData(0, 0, columns, rows).data;
}

const toDeg = (radians) => (radians * 180) / Math.PI;
const toRad = (degrees) => (degrees * Math.PI) / 180;
