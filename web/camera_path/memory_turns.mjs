// What lies under the path on the map: the source's first frame, and what cached turns saw.
import { app } from "../../../scripts/app.js";
import { getJson } from "../shared/server.mjs";
import { t } from "../shared/texts.mjs";
import { sourceNode, sourcePicture } from "./source_picture.mjs";

const COLOURS = [
  "#4fc3f7",
  "#ffb74d",
  "#81c784",
  "#f06292",
  "#ba68c8",
  "#fff176",
  "#4db6ac",
  "#ff8a65",
];
const CHOSEN = "memv2v_path_session"; // the session chosen here; absent: the graph's own
const USED = "memv2v_session"; // what the last run of a node named after its clip
const MOST_STEPS = 400; // nodes that a search through a large graph visits

export class MemoryTurns {
  constructor(node, model) {
    Object.assign(this, { node, model, turns: [], shown: [], notes: [], numOlder: 0 });
    this.session = "";
    this.loaded = null;
    this.picture = null;
    this.pictureKey = "";
    this.hidden = new Set();
    this.onChange = () => undefined;
  }

  get chosen() {
    return this.node.properties?.[CHOSEN] ?? null;
  }

  choose(name) {
    if (name === null) {
      delete this.node.properties[CHOSEN];
    } else {
      this.node.properties[CHOSEN] = name;
    }
    return this.look();
  }

  // Look at the graph again: another session, or another source, may be connected. `isFresh` asks
  // the server again for the same session, after a run.
  async look(isFresh = false) {
    const session = this.chosen ?? sessionOf(this.node);
    const isNew = session !== this.session;
    this.session = session;
    await Promise.all([this.lookAtPicture(), isNew || isFresh ? this.load() : null]);
    return isNew || isFresh;
  }

  async load() {
    const { session } = this;
    let found = { turns: [], num_older: 0, notes: [] };
    if (session) {
      try {
        found = await getJson(`/path/turns?session=${encodeURIComponent(session)}`);
      } catch (error) {
        found.notes = [error.message];
      }
    }
    // Another session may have been chosen meanwhile.
    if (session !== this.session) {
      return;
    }
    this.turns = found.turns.map(described);
    this.numOlder = found.num_older;
    this.notes = found.notes;
    this.filter();
  }

  toggle(id) {
    if (!this.hidden.delete(id)) {
      this.hidden.add(id);
    }
    this.filter();
  }

  filter() {
    this.shown = this.turns.filter((turn) => turn.outline.length && !this.hidden.has(turn.id));
    this.onChange();
  }

  turn(id) {
    return this.turns.find((turn) => turn.id === id);
  }

  // Width divided by height of the connected clip, where the page has a picture of it.
  get aspect() {
    return this.isConnected ? (this.size?.aspect ?? null) : null;
  }

  get isConnected() {
    return Boolean(sourceNode(this.node));
  }

  async lookAtPicture() {
    const picture = await sourcePicture(this.node, this.model.view?.lens, this.pictureKey);
    if (picture === undefined) {
      return; // the same as before
    }
    const { key = "", size = null, ...placed } = picture ?? {};
    const isOtherShape = this.size?.aspect !== size?.aspect;
    this.pictureKey = key;
    this.size = size;
    this.picture = placed.url ? placed : null;
    this.onChange(isOtherShape);
  }
}

function described(turn) {
  const number = turn.segment ?? turn.turn;
  const label = turn.segment ? t("segment {number}", { number }) : t("turn {number}", { number });
  const points = turn.outline.flat();
  const left = Math.min(...points.map(([x]) => x));
  const top = Math.max(...points.map(([, y]) => y));
  const colour = COLOURS[(number - 1) % COLOURS.length];
  return { ...turn, number, label, colour, corner: points.length ? [left, top] : [0, 0] };
}

// The session of the nearest node that names one, along the links in both directions.
function sessionOf(node) {
  const seen = new Set([node]);
  const queue = [node];
  for (let steps = 0; queue.length && steps < MOST_STEPS; steps += 1) {
    const at = queue.shift();
    const name = at === node ? "" : nameOf(at);
    if (name) {
      return name;
    }
    for (const next of neighbours(at)) {
      if (!seen.has(next)) {
        seen.add(next);
        queue.push(next);
      }
    }
  }
  return "";
}

function nameOf(node) {
  const value = node.widgets?.find((widget) => widget.name === "session")?.value;
  const typed = typeof value === "string" ? value.trim() : "";
  return typed || node.properties?.[USED] || "";
}

function neighbours(node) {
  const graph = node.graph ?? app.graph;
  const incoming = (node.inputs ?? []).map((input) => graph.links?.get?.(input.link)?.origin_id);
  const outgoing = (node.outputs ?? []).flatMap((output) =>
    (output.links ?? []).map((id) => graph.links?.get?.(id)?.target_id),
  );
  return [...outgoing, ...incoming]
    .filter((id) => id !== undefined)
    .map((id) => graph.getNodeById(id))
    .filter(Boolean);
}
