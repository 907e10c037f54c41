// Which node of the open workflow makes a card again, and what its `redo` says of the card.
import { app } from "../../../../scripts/app.js";
import { runAt } from "../../progress/runs.mjs";
import { executionIdOf, placedNodes, workflowId } from "../../shared/places.mjs";
import { showError } from "../../shared/server.mjs";
import { t } from "../../shared/texts.mjs";
import { setWidgets } from "../actions.mjs";
import { numberOf } from "../words.mjs";
import { holderOf, inputLink, sessionOf } from "./holder.mjs";
import { afterPress, madeBy, numbersOf } from "./next_take.mjs";

// By the `unit` of a card.
const CLASSES = { segment: "MemV2VEditLongVideo", turn: "MemV2VReshootVideo" };
const NEVER = 2;
const BYPASSED = 4;

const { LiteGraph } = window;

// Redo for the cards of a session, as the workflow is now.
// owner: the node that shows them, which comes first; null in the sidebar.
export class Redo {
  constructor(session, owner, cards) {
    this.session = session;
    this.makers = new Map();
    for (const unit of Object.keys(CLASSES)) {
      const ofUnit = cards.filter((card) => card.unit === unit);
      if (ofUnit.length) {
        this.makers.set(unit, makerOf(unit, session, owner, ofUnit));
      }
    }
  }

  // { isPending, reason } of a card; null for a card that no node makes again.
  // isPending: the next run makes it again. reason: why a press cannot ask for that; "" where it can.
  of(card) {
    const maker = this.makers.get(card.unit);
    if (!maker) {
      return null;
    }
    const number = numberOf(card);
    const isPending = Boolean(maker.numbers?.has(number) && !maker.made.has(number));
    return { isPending, reason: isPending ? "" : this.reasonFor(card, maker) };
  }

  reasonFor(card, { node, redo, count }) {
    if (!node) {
      const name = LiteGraph.registered_node_types[CLASSES[card.unit]]?.title ?? CLASSES[card.unit];
      return t("Redo needs {node} with session {session} in this workflow", { node: name, session: this.session });
    }
    if (!redo) {
      return t("Redo is set by a link into {node}", { node: node.title });
    }
    // The number of a result that an earlier, longer run left would end the next run.
    return count && numberOf(card) > count
      ? t("Left over: {node} makes {count} now", { node: node.title, count })
      : "";
  }

  press(card) {
    const reason = this.of(card)?.reason;
    if (reason) {
      app.extensionManager.toast.add({ severity: "info", summary: reason, life: 6000 });
      return;
    }
    const { redo, seed, numbers, firstSeed, cards } = this.makers.get(card.unit);
    if (!numbers) {
      showError(
        t("redo holds something else"),
        new Error(t("redo holds {text}, wanted numbers such as 2, 5; correct it first", { text: redo.widget.value })),
      );
      return;
    }
    const state = { numbers, seed: seed ? Number(seed.widget.value) : null, firstSeed };
    const asked = afterPress(state, cards, numberOf(card));
    const text = [...asked.numbers].sort((a, b) => a - b).join(", ");
    const changes = [[redo, text], ...(seed ? [[seed, asked.seed]] : [])];
    setWidgets(changes.filter(([{ widget }, value]) => widget.value !== value));
    makersChanged();
  }
}

function makerOf(unit, session, owner, cards) {
  const isMaker = (node) => node.comfyClass === CLASSES[unit];
  const node = owner && isMaker(owner) ? owner : placed(isMaker, session);
  if (!node) {
    return { node };
  }
  const [redo, seed, first] = ["redo", "redo_seed", "seed"].map((name) => holderOf(node, name));
  return {
    node,
    redo,
    seed,
    cards,
    count: unit === "turn" ? numPaths(node) : numInLastRun(node),
    numbers: redo && numbersOf(String(redo.widget.value ?? "")),
    made: madeBy(seed?.widget.value ?? null, cards),
    firstSeed: first?.widget.value ?? null,
  };
}

// The first node that runs with this session.
function placed(isMaker, session) {
  for (const [, node] of placedNodes()) {
    if (isMaker(node) && node.mode !== NEVER && node.mode !== BYPASSED && sessionOf(node) === session) {
      return node;
    }
  }
  return null;
}

// How many turns Re-shoot Video makes; as `parse_paths` counts them. 0 where a run alone knows.
function numPaths(node) {
  const cameras = (node.inputs ?? []).filter(({ name }) => name.startsWith("cameras."));
  const linked = cameras.filter(({ name }) => inputLink(node, name)).length;
  const paths = holderOf(node, "paths");
  if (linked || !paths) {
    return linked || numInLastRun(node);
  }
  return String(paths.widget.value).split(/[;\n]/).filter((part) => part.trim()).length;
}

function numInLastRun(node) {
  return runAt(workflowId(), executionIdOf(node))?.total ?? 0;
}

const listeners = new Set();
let waiting = null;

// `listener()` soon after something that Redo depends on changed. Returns a function that stops.
export function watchMakers(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function makersChanged() {
  waiting ??= setTimeout(() => {
    waiting = null;
    for (const listener of listeners) {
      listener();
    }
  });
}
