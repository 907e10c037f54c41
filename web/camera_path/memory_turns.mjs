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
// Nodes that score what turns saw, and what a node that is not there means: the server's defaults.
const SCORING = ["VideoFOVRetrieve", "MemV2VReshootVideo"];
const OFF = [2, 4]; // muted, bypassed
const USUAL = { radius: 1, balance: 0.5 };
const USED = "memv2v_session"; // what the last run of a node named after its clip
const MOST_STEPS = 400; // nodes that a search through a large graph visits

export class MemoryTurns {
  constructor(node, model) {
    Object.assign(this, { node, model, turns: [], shown: [], notes: [], numOlder: 0 });
    this.session = "";
    this.scoring = USUAL;
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

  // Look at the graph again: another session, source or retrieval may be connected. `isFresh` asks
  // the server again for the same session, after a run.
  async look(isFresh = false) {
    const session = this.chosen ?? sessionOf(this.node);
    const scoring = scoringOf(this.node);
    const isSame = (name) => scoring[name] === this.scoring[name];
    const isNew = session !== this.session || !Object.keys(USUAL).every(isSame);
    Object.assign(this, { session, scoring });
    await Promise.all([this.lookAtPicture(), isNew || isFresh ? this.load() : null]);
    return isNew || isFresh;
  }

  async load() {
    const { session, scoring } = this;
    let found = { turns: [], num_older: 0, notes: [] };
    if (session) {
      try {
        const asked = new URLSearchParams({ session, radius: scoring.radius });
        found = await getJson(`/path/turns?${asked}`);
      } catch (error) {
        found.notes = [error.message];
      }
    }
    // Another session or radius may have been chosen meanwhile.
    if (session !== this.session || scoring.radius !== this.scoring.radius) {
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
  return nearest(node, nameOf, (at) => [...targets(at), ...sources(at)]) ?? "";
}

// How the nearest node below the path scores it.
function scoringOf(node) {
  return nearest(node, scoringOfNode, targets) ?? USUAL;
}

// What `valueOf` finds at the nearest other node, along `next`; undefined where it finds nothing.
function nearest(node, valueOf, next) {
  const seen = new Set([node]);
  const queue = [node];
  for (let steps = 0; queue.length && steps < MOST_STEPS; steps += 1) {
    const at = queue.shift();
    const value = at === node ? null : valueOf(at);
    if (value) {
      return value;
    }
    for (const other of next(at)) {
      if (!seen.has(other)) {
        seen.add(other);
        queue.push(other);
      }
    }
  }
  return undefined;
}

function scoringOfNode(node) {
  if (!SCORING.includes(node.comfyClass ?? node.type) || OFF.includes(node.mode)) {
    return null;
  }
  const entries = Object.entries(USUAL).map(([name, usual]) => {
    const value = node.widgets?.find((widget) => widget.name === name)?.value;
    // A number that comes through a link is known to a run alone.
    const input = node.inputs?.find((held) => held.widget?.name === name);
    const isKnown = (input?.link ?? null) === null && Number.isFinite(value);
    return [name, isKnown ? value : usual];
  });
  return Object.fromEntries(entries);
}

function nameOf(node) {
  const value = node.widgets?.find((widget) => widget.name === "session")?.value;
  const typed = typeof value === "string" ? value.trim() : "";
  return typed || node.properties?.[USED] || "";
}

// The nodes that this one feeds.
function targets(node) {
  const links = (node.outputs ?? []).flatMap((output) => output.links ?? []);
  return nodesAt(node, links, "target_id");
}

// The nodes that feed this one.
function sources(node) {
  const links = (node.inputs ?? []).map((input) => input.link);
  return nodesAt(node, links, "origin_id");
}

function nodesAt(node, links, end) {
  const graph = node.graph ?? app.graph;
  return links
    .map((id) => graph.links?.get?.(id)?.[end])
    .filter((id) => id !== undefined)
    .map((id) => graph.getNodeById(id))
    .filter(Boolean);
}
